package trustconfig

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tkgfix/tkgfix/internal/certs"
	"github.com/tkgfix/tkgfix/internal/kube"
	"github.com/tkgfix/tkgfix/internal/tkg"
	"github.com/tkgfix/tkgfix/plugins"
	"github.com/tkgfix/tkgfix/plugins/sdk"
)

// changeOf puts the choice into words and documents. Nothing in it moves while the list stays as it is.
func changeOf(ref tkg.Ref, live *unstructured.Unstructured, ch tkg.Choice, candidate []*x509.Certificate) (plugins.PlannedChange, error) {
	var none plugins.PlannedChange
	before := documentOf(live)
	after := before.with(ch.Index, tkg.TrustEntry{Name: ch.Name, Data: tkg.Encode(certs.Normalize(candidate), tkg.LayersService)})
	old, err := before.entries()
	if err != nil {
		return none, err
	}
	undo, err := undoPatch(before, after)
	if err != nil {
		return none, err
	}
	gvk := live.GroupVersionKind()
	target := plugins.Target{Group: gvk.Group, Version: gvk.Version, Kind: gvk.Kind, Name: live.GetName(), UID: string(live.GetUID())}
	change := plugins.PlannedChange{
		Action: plugins.Update,
		Target: target,
		Reason: fmt.Sprintf("%s entry %q (%s), so that new nodes of %s trust the registry", ch.Act, ch.Name, ch.Why, ref),
		Preconditions: []plugins.Precondition{
			{Target: target, Field: "metadata.uid", Value: target.UID},
			{Target: target, Field: listPath, Value: tkg.TrustHash(old)},
		},
		Undo: "new nodes follow: kubectl patch tkgserviceconfigurations." + tkg.RunGroup + " " + target.Name + " --type=json -p=" + quote(string(undo)),
	}
	if change.Before, err = before.JSON(); err != nil {
		return none, err
	}
	change.After, err = after.JSON()
	return change, err
}

// documents reads an approved change.
func documents(change plugins.PlannedChange) (before, after document, err error) {
	if change.Target.Kind != kind || change.Target.Name != tkg.ServiceConfigurationName {
		return nil, nil, fmt.Errorf("the approved change is of %s, not of %s", change.Target, kind)
	}
	if before, err = parseDocument(change.Before); err != nil {
		return nil, nil, err
	}
	after, err = parseDocument(change.After)
	return before, after, err
}

// changedName returns the name of the entry that an approved change sets.
func changedName(change plugins.PlannedChange) (string, error) {
	before, after, err := documents(change)
	if err != nil {
		return "", err
	}
	i, err := changedEntry(before, after)
	if err != nil {
		return "", err
	}
	entries, err := after.entries()
	if err != nil {
		return "", err
	}
	return entries[i].Name, nil
}

// holds reads what the change stands on again. A difference is a conflict that names the field.
func holds(ctx context.Context, c *kube.Client, change plugins.PlannedChange) error {
	live, err := read(ctx, c)
	if err != nil {
		return err
	}
	return conflicts(live, change.Preconditions)
}

func conflicts(live *unstructured.Unstructured, preconditions []plugins.Precondition) error {
	entries, err := tkg.ServiceTrust(live)
	if err != nil {
		return err
	}
	for _, p := range preconditions {
		now, err := fieldOf(live, entries, p.Field)
		if err != nil {
			return err
		}
		if now == p.Value {
			continue
		}
		err = fmt.Errorf("%s of %s changed since the plan: it was %s and is now %s", p.Field, p.Target, p.Value, now)
		return plugins.Hint(plugins.WithKind(plugins.KindConflict, err), "nothing was changed; look who edits it, then plan and approve again")
	}
	return nil
}

func fieldOf(live *unstructured.Unstructured, entries []tkg.TrustEntry, field string) (string, error) {
	switch field {
	case "metadata.uid":
		return string(live.GetUID()), nil
	case listPath:
		return tkg.TrustHash(entries), nil
	default:
		return "", fmt.Errorf("the approved change stands on %s, which this step does not know", field)
	}
}

// seen decides from the object whether the patch happened.
func seen(live *unstructured.Unstructured, uid string, before, after document) (sdk.Observation, error) {
	now, err := tkg.ServiceTrust(live)
	if err != nil {
		return sdk.Observation{}, err
	}
	old, errOld := before.entries()
	wanted, errNew := after.entries()
	if err := errors.Join(errOld, errNew); err != nil {
		return sdk.Observation{}, err
	}
	switch hash := tkg.TrustHash(now); {
	case string(live.GetUID()) != uid:
		return unknowable("another object of that name is there, with UID %s", live.GetUID()), nil
	case hash == tkg.TrustHash(wanted):
		return sdk.Observation{State: sdk.Yes, Note: "the list is as approved"}, nil
	case hash == tkg.TrustHash(old):
		return sdk.Observation{State: sdk.No, Note: "the list is as before"}, nil
	default:
		return unknowable("the list is neither as before nor as approved: somebody else edited it"), nil
	}
}

func unknowable(format string, args ...any) sdk.Observation {
	const check = "; compare it with the plan: kubectl get tkgserviceconfiguration " + tkg.ServiceConfigurationName +
		" -o jsonpath='{.spec.trust.additionalTrustedCAs}'"
	return sdk.Observation{State: sdk.Unknowable, Note: fmt.Sprintf(format, args...) + check}
}

// impact lists the clusters that may roll, now or at their next update (tkg-facts.md §2: sources disagree). The approval's digest
// covers it, so only a lasting reason lets it speak of all of them; what may pass is an error.
func impact(ctx context.Context, c *kube.Client) ([]string, error) {
	lines := []string{}
	r, err := c.Resource(ctx, tkg.RunGroup, "TanzuKubernetesCluster")
	if err == nil {
		err = c.Each(ctx, r, "", metav1.ListOptions{}, func(u *unstructured.Unstructured) error {
			lines = append(lines, fmt.Sprintf("%s/%s may replace its nodes, now or at its next update", u.GetNamespace(), u.GetName()))
			return nil
		})
	}
	switch {
	case apierrors.IsForbidden(err):
		return []string{"every TanzuKubernetesCluster of this Supervisor may replace its nodes (this user may not list them)"}, nil
	case errors.Is(err, kube.ErrNotServed):
		return nil, nil
	case err != nil:
		return nil, err
	}
	slices.Sort(lines)
	return slices.Compact(lines), nil
}

// warnings say what the plan's reader may overlook.
func warnings(list []tkg.Held, ch tkg.Choice, candidate []*x509.Certificate) []string {
	lines := []string{"the list is global: clusters other than the one in question may roll, at a time that TKG chooses"}
	if ch.Act != tkg.Replace {
		return lines
	}
	for _, old := range list[ch.Index].Certs {
		if slices.ContainsFunc(candidate, old.Equal) {
			continue
		}
		lines = append(lines, fmt.Sprintf("new nodes will no longer trust %s (sha256 %s): registries that it signed must have moved to the new CA",
			certs.Subject(old), certs.Fingerprint(old)))
	}
	return lines
}

func evidenceOf(list []tkg.Held) plugins.Evidence {
	lines := []string{fmt.Sprintf("%d entries", len(list))}
	for _, h := range list {
		switch {
		case len(h.Certs) == 0:
			lines = append(lines, h.Name+": holds no certificate")
		case !h.Right:
			lines = append(lines, fmt.Sprintf("%s: %s, in an encoding that nodes cannot use", h.Name, subjects(h.Certs)))
		default:
			lines = append(lines, fmt.Sprintf("%s: %s", h.Name, subjects(h.Certs)))
		}
	}
	return plugins.Evidence{
		Subject: kind + " " + tkg.ServiceConfigurationName, Check: "trust-list", Verdict: plugins.Info,
		Text: strings.Join(lines, "\n"),
	}
}

func subjects(list []*x509.Certificate) string {
	words := make([]string, len(list))
	for i, c := range list {
		words[i] = fmt.Sprintf("%s (sha256 %.16s...)", certs.Subject(c), certs.Fingerprint(c))
	}
	return strings.Join(words, ", ")
}

// quote makes one word of s for a POSIX shell.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
