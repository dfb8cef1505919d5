package cli

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/urfave/cli/v2"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/tkgfix/tkgfix/api/v1alpha1"
	"github.com/tkgfix/tkgfix/internal/approval"
	"github.com/tkgfix/tkgfix/internal/kube"
	"github.com/tkgfix/tkgfix/internal/sshsig"
	"github.com/tkgfix/tkgfix/internal/state"
	"github.com/tkgfix/tkgfix/plugins"
)

// clusterDecision is a decision on a gate of a run that a controller carries out.
type clusterDecision struct {
	at  kubeState
	run string
	approval.Decision
	// approver is who decides, empty while that is to be found out.
	approver string
}

// decideInCluster hands a decision to a controller: as an Approval, or as its manifest for a commit.
func (a *app) decideInCluster(c *cli.Context, at kubeState, run string, d approval.Decision) error {
	it := clusterDecision{at: at, run: run, Decision: d, approver: c.String("approver")}
	if err := it.check(); err != nil {
		return err
	}
	var err error
	if it.Signature, err = a.signature(c, run, d); err != nil {
		return err
	}
	if len(it.Signature) > maxSignature {
		return fmt.Errorf("the signature has %d bytes, at most %d are allowed", len(it.Signature), maxSignature)
	}
	if it.approver != "" && c.Bool("manifest") {
		return a.manifest(it)
	}
	client, err := at.client()
	if err != nil {
		return err
	}
	if it.approver == "" {
		if it.approver, err = it.who(c.Context, client); err != nil {
			return err
		}
	}
	if c.Bool("manifest") {
		return a.manifest(it)
	}
	made, err := it.create(c.Context, client)
	if err != nil {
		return it.explain(c, err)
	}
	a.ui.Say("Approval %s: %s says %s to gate %s of run %s", made.GetName(), it.approver, it.word(), it.Gate, it.run)
	a.ui.Say("whether it counts: %s", at.kubectl("get approval %s", made.GetName()))
	return nil
}

// wholeDigest is the form of an Approval's digest, as config/crd has it.
var wholeDigest = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

const maxSignature = 16384 // bytes

// check refuses what no API server would take, also where none is asked.
func (d clusterDecision) check() error {
	if state.CheckRun(d.run) != nil {
		return plugins.Hint(fmt.Errorf("%q is no id of a run in a cluster", d.run), "%s", d.at.kubectl("get runs.tkgfix.dev -o wide"))
	}
	if !wholeDigest.MatchString(d.Digest) {
		return plugins.Hint(fmt.Errorf("%q is not a whole digest: sha256: and 64 digits", d.Digest),
			"%s", d.at.kubectl("get runs.tkgfix.dev %s -o yaml", nameOfRun(d.run)))
	}
	// What could not be signed is not said without a signature either.
	if _, err := sshsig.Of(d.run, d.Decision).Message(); err != nil {
		return err
	}
	return nil
}

// nameOfRun returns the Run's name in a run's id, for hints: the whole of what is no such id.
func nameOfRun(id string) string { return cmp.Or(v1alpha1.RunName(id), id) }

func (d clusterDecision) word() string { return sshsig.Of(d.run, d.Decision).Decision }

// who finds out who decides: the signer by the namespace's allowed signers, else whose login this is.
func (d clusterDecision) who(ctx context.Context, client *kube.Client) (string, error) {
	if d.Signature == "" {
		name, err := client.WhoAmI(ctx)
		if errors.Is(err, kube.ErrNotServed) {
			return "", plugins.Hint(err, "--approver NAME, by which the API server knows you")
		}
		return name, err
	}
	by, err := d.signer(ctx, client)
	if err != nil {
		return "", fmt.Errorf("find whose signature that is: %w", err)
	}
	return by.Name, nil
}

func (d clusterDecision) signer(ctx context.Context, client *kube.Client) (approval.Identity, error) {
	const name, key = v1alpha1.SignersConfigMap, v1alpha1.SignersKey
	const hint = "--approver NAME, as the allowed signers have it"
	configMaps, err := client.Resource(ctx, "", "ConfigMap")
	if err != nil {
		return approval.Identity{}, err
	}
	held, err := client.Get(ctx, configMaps, d.at.Namespace, name)
	if apierrors.IsForbidden(err) || apierrors.IsNotFound(err) {
		return approval.Identity{}, plugins.Hint(err, hint)
	}
	if err != nil {
		return approval.Identity{}, err
	}
	list, err := kube.As[corev1.ConfigMap](held)
	if err != nil {
		return approval.Identity{}, err
	}
	allowed, err := sshsig.ParseAllowedSigners("ConfigMap "+d.at.Namespace+"/"+name, []byte(list.Data[key]))
	if err != nil {
		return approval.Identity{}, err
	}
	return allowed.Identify(d.run, d.Decision)
}

func (d clusterDecision) create(ctx context.Context, client *kube.Client) (*unstructured.Unstructured, error) {
	kind, err := client.Resource(ctx, v1alpha1.GroupVersion.Group, "Approval")
	if errors.Is(err, kube.ErrNotServed) {
		return nil, noController(err, d.at)
	}
	if err != nil {
		return nil, err
	}
	return client.Create(ctx, kind, d.object("generateName", d.prefix()))
}

// explain adds to the refusal of an Approval what to do next.
func (d clusterDecision) explain(c *cli.Context, err error) error {
	switch {
	case !apierrors.IsForbidden(err) || plugins.HintOf(err) != "":
		return err
	case d.Signature == "" && c.IsSet("approver"):
		return plugins.Hint(err, "leave out --approver to decide in your own name, or let %s sign: --key FILE", d.approver)
	}
	return plugins.Hint(err, "ask who may give you the ClusterRole tkgfix-approver there, and check with: %s",
		d.at.kubectl("auth can-i approve runs.tkgfix.dev/%s", nameOfRun(d.run)))
}

// object returns the Approval, with a name or the beginning of one.
func (d clusterDecision) object(nameField, name string) *unstructured.Unstructured {
	spec := map[string]any{"run": d.run, "gate": d.Gate, "digest": d.Digest, "decision": d.word(), "approver": d.approver}
	if d.Reason != "" {
		spec["reason"] = d.Reason
	}
	if d.Signature != "" {
		spec["signature"] = d.Signature
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": v1alpha1.GroupVersion.String(), "kind": "Approval",
		"metadata": map[string]any{nameField: name, "namespace": d.at.Namespace},
		"spec":     spec,
	}}
}

var notInName = regexp.MustCompile(`[^a-z0-9]+`)

// prefix begins an Approval's name by the run and the gate. API servers keep 58 characters of it.
func (d clusterDecision) prefix() string {
	const most = 57
	name := d.run + "-" + strings.Trim(notInName.ReplaceAllString(strings.ToLower(d.Gate), "-"), "-")
	return strings.TrimRight(name[:min(len(name), most)], "-") + "-"
}

// manifest prints the Approval as YAML. Its name follows from what it says, so that the same decision is the same file.
func (a *app) manifest(d clusterDecision) error {
	sum := sha256.New()
	for _, part := range []string{d.run, d.Gate, d.Digest, d.word(), d.Reason, d.approver} {
		fmt.Fprintf(sum, "%d:%s", len(part), part)
	}
	data, err := yaml.Marshal(d.object("name", fmt.Sprintf("%s%x", d.prefix(), sum.Sum(nil)[:5])).Object)
	if err != nil {
		return fmt.Errorf("write the Approval: %w", err)
	}
	if _, err := a.ui.Out.Write(data); err != nil {
		return err
	}
	if d.Signature == "" {
		a.ui.Hint("it is not signed and counts only if %s creates it: %s; for a commit, sign it: --key FILE",
			d.approver, d.at.kubectl("create -f FILE"))
	}
	return nil
}
