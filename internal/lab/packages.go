package lab

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
)

const (
	packageCRD   = "packageinstalls.packaging.carvel.dev"
	fetchTimeout = 10 * time.Second
)

func crdResource() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
}

func packageResource() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "packaging.carvel.dev", Version: "v1alpha1", Resource: "packageinstalls"}
}

// packageKind is kapp-controller's PackageInstall, as far as anybody looks at it.
func packageKind() *unstructured.Unstructured {
	anything := map[string]any{"type": "object", "x-kubernetes-preserve-unknown-fields": true}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": map[string]any{"name": packageCRD},
		"spec": map[string]any{
			"group": "packaging.carvel.dev", "scope": "Namespaced",
			"names": map[string]any{"kind": "PackageInstall", "listKind": "PackageInstallList", "plural": "packageinstalls", "singular": "packageinstall", "shortNames": []any{"pkgi"}},
			"versions": []any{map[string]any{
				"name": "v1alpha1", "served": true, "storage": true, "subresources": map[string]any{"status": map[string]any{}},
				"schema": map[string]any{"openAPIV3Schema": map[string]any{"type": "object", "properties": map[string]any{"spec": anything, "status": anything}}},
			}},
		},
	}}
}

// addPackage makes a PackageInstall that kapp-controller could not fetch. Its words come from a real request by somebody who trusts
// public roots only, as kapp-controller does (tkg-facts.md §6.1, §6.4).
func (d *daemon) addPackage(ctx context.Context, config *rest.Config) error {
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("making a client: %w", err)
	}
	cause, err := d.fetchPackage(ctx)
	if err != nil {
		return err
	}
	if _, err := client.Resource(crdResource()).Create(ctx, packageKind(), metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("making the kind PackageInstall: %w", err)
	}
	install := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "packaging.carvel.dev/v1alpha1", "kind": "PackageInstall", "metadata": map[string]any{"name": "web-package", "namespace": "default"},
		"spec": map[string]any{"serviceAccountName": "default", "packageRef": map[string]any{"refName": "web.corp.lab"}},
	}}
	var live *unstructured.Unstructured
	err = wait.PollUntilContextTimeout(ctx, stateEvery, stateTimeout, true, func(ctx context.Context) (bool, error) {
		live, err = client.Resource(packageResource()).Namespace("default").Create(ctx, install, metav1.CreateOptions{})
		return err == nil, nil // the kind is served a moment later
	})
	if err != nil {
		return fmt.Errorf("making a PackageInstall: %w", err)
	}
	live.Object["status"] = map[string]any{
		"friendlyDescription": "Reconcile failed: Error (see .status.usefulErrorMessage for details)",
		"usefulErrorMessage":  cause,
		"conditions":          []any{map[string]any{"type": "ReconcileFailed", "status": "True", "message": "Error (see .status.usefulErrorMessage for details)"}},
	}
	if _, err := client.Resource(packageResource()).Namespace("default").UpdateStatus(ctx, live, metav1.UpdateOptions{}); err != nil {
		return fmt.Errorf("reporting a PackageInstall: %w", err)
	}
	return nil
}

// fetchPackage asks the registry as kapp-controller's imgpkg does and returns its words for the failure.
func (d *daemon) fetchPackage(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM(d.pki.Public.PEM())
	transport := &http.Transport{DialContext: d.servers.dial, TLSClientConfig: &tls.Config{RootCAs: trusted, MinVersion: tls.VersionTLS12}}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+registryName()+"/v2/", nil)
	if err != nil {
		return "", fmt.Errorf("asking for a package: %w", err)
	}
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err == nil {
		_ = resp.Body.Close() // nothing of it is wanted
		return "", fmt.Errorf("kapp-controller got an answer from %s, which it should not trust", registryName())
	}
	return "vendir: Error: Syncing directory '0': Syncing directory '.' with imgpkgBundle contents: Fetching image: " +
		"Error while preparing a transport to talk with the registry: Unable to create round tripper: " + err.Error(), nil
}

// clearPackages deletes the kind, and with it what there is of it, and returns when that is gone.
func clearPackages(ctx context.Context, config *rest.Config) error {
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("making a client: %w", err)
	}
	err = client.Resource(crdResource()).Delete(ctx, packageCRD, metav1.DeleteOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("deleting the kind PackageInstall: %w", err)
	}
	return waitGone(ctx, client.Resource(crdResource()), packageCRD)
}
