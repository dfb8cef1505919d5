package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/tkgfix/tkgfix/plugins"
)

// group is the API group of relics.
const group = "chaos.example.com"

// relics reaches one relic on the Supervisor.
type relics struct {
	input
	url, token string
	client     *http.Client
	// agent tells in the audit log on which machine this ran.
	agent string
}

// kubeconfig is as much of one as is used: the first of each.
type kubeconfig struct {
	Clusters []struct {
		Cluster struct {
			Server string `json:"server"`
			CA     []byte `json:"certificate-authority-data"`
		} `json:"cluster"`
	} `json:"clusters"`
	Users []struct {
		User struct {
			Token string `json:"token"`
		} `json:"user"`
	} `json:"users"`
}

func dial(conn plugins.Kube, in input) (*relics, error) {
	data, err := os.ReadFile(conn.Kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("read the kubeconfig: %w", err)
	}
	var c kubeconfig
	if err := yaml.Unmarshal(data, &c); err != nil || len(c.Clusters) == 0 || len(c.Users) == 0 {
		return nil, errors.New("the kubeconfig names no cluster or no user")
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(c.Clusters[0].Cluster.CA)
	machine, err := os.Hostname()
	if err != nil {
		return nil, err
	}
	return &relics{
		input: in, token: c.Users[0].User.Token, agent: "raze/" + machine,
		url:    fmt.Sprintf("%s/apis/%s/v1/namespaces/%s/relics/%s", c.Clusters[0].Cluster.Server, group, in.Namespace, in.Relic),
		client: &http.Client{Timeout: time.Minute, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}},
	}, nil
}

func (r *relics) target(uid string) plugins.Target {
	return plugins.Target{Group: group, Version: "v1", Kind: "Relic", Namespace: r.Namespace, Name: r.Relic, UID: uid}
}

// relic is what is looked at of one.
type relic struct {
	Metadata struct {
		UID               string `json:"uid"`
		DeletionTimestamp string `json:"deletionTimestamp"`
	} `json:"metadata"`
}

// get returns the relic, nil if there is none.
func (r *relics) get(ctx context.Context) (*relic, error) {
	code, body, err := r.ask(ctx, http.MethodGet, nil)
	switch {
	case err != nil || code == http.StatusNotFound:
		return nil, err
	case code != http.StatusOK:
		return nil, unexpected(code, body)
	}
	out := &relic{}
	return out, json.Unmarshal(body, out)
}

// delete deletes the relic if it is the one with that UID. Whether it was there, who looks will see.
func (r *relics) delete(ctx context.Context, uid string) error {
	options, err := json.Marshal(map[string]any{"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": map[string]any{"uid": uid}})
	if err != nil {
		return err
	}
	code, body, err := r.ask(ctx, http.MethodDelete, options)
	if err != nil || code == http.StatusOK || code == http.StatusAccepted || code == http.StatusNotFound || code == http.StatusConflict {
		return err
	}
	return unexpected(code, body)
}

func (r *relics) ask(ctx context.Context, method string, body []byte) (int, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, r.url, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Authorization", "Bearer "+r.token)
	req.Header.Set("User-Agent", r.agent)
	req.Header.Set("Content-Type", "application/json")
	resp, err := r.client.Do(req)
	if err != nil {
		return 0, nil, plugins.WithKind(plugins.KindTransient, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return 0, nil, plugins.WithKind(plugins.KindTransient, err)
	}
	return resp.StatusCode, text, nil
}

func unexpected(code int, body []byte) error {
	err := fmt.Errorf("the API server answered %d: %.200s", code, body)
	if code == http.StatusTooManyRequests || code >= http.StatusInternalServerError {
		return plugins.WithKind(plugins.KindTransient, err)
	}
	return err
}
