package approvals_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tkgfix/tkgfix/api/v1alpha1"
	"github.com/tkgfix/tkgfix/internal/approval"
	"github.com/tkgfix/tkgfix/internal/controller/approvals"
	"github.com/tkgfix/tkgfix/plugins"
)

// judge trusts the policy from the second on in which it was made: that it is enforced was seen.
func judge(t *testing.T) *approvals.Judge {
	t.Helper()
	return &approvals.Judge{Reader: clientOf(t, ""), Settle: -1}
}

// TestWho creates Approvals as somebody, and finds out who gave them.
func TestWho(t *testing.T) {
	t.Parallel()
	hers, his, eves := newKey(t), newKey(t), newKey(t)
	const team, other, empty = "who", "who-other", "who-empty"
	namespace(t, team, alice+",alice "+hers.public+"\n"+bob+" valid-before=\"20200101Z\" "+his.public+"\n")
	namespace(t, other, alice+" "+eves.public+"\n")
	namespace(t, empty, "")
	signed := func(k key, before, after func(*v1alpha1.Approval)) func(*v1alpha1.Approval) {
		return func(a *v1alpha1.Approval) {
			if before != nil {
				before(a)
			}
			k.sign(t, a)
			if after != nil {
				after(a)
			}
		}
	}
	approver := func(name string) func(*v1alpha1.Approval) {
		return func(a *v1alpha1.Approval) { a.Spec.Approver = name }
	}
	reject := func(a *v1alpha1.Approval) { a.Spec.Decision = v1alpha1.DecisionReject }
	for name, tc := range map[string]struct {
		reason, user string
		change       func(*v1alpha1.Approval)
		want         approval.Identity
		err, hint    string
	}{
		"Person": {reason: "the API server has authenticated her", user: alice, want: approval.Identity{Name: alice, Verified: true}},
		"GitOps": {
			reason: "a service account is nobody", user: gitops, change: approver(gitops),
			err: "it is not signed, and " + gitops + " is no person", hint: "sign it: tkgfix approve --state kube:who trust-0123abcd recreate --digest " + digest + " --key",
		},
		"GitOpsRejects": {
			reason: "anybody may stop a run", user: gitops, want: approval.Identity{Name: gitops, Verified: true},
			change: func(a *v1alpha1.Approval) { a.Spec.Approver, a.Spec.Decision = gitops, v1alpha1.DecisionReject },
		},
		"Signed":         {reason: "her signature counts, whoever carries it", user: gitops, change: signed(hers, nil, nil), want: approval.Identity{Name: alice, Verified: true, Key: "SHA256:"}},
		"SignedByHand":   {reason: "also where she carries it herself", user: alice, change: signed(hers, nil, nil), want: approval.Identity{Name: alice, Verified: true, Key: "SHA256:"}},
		"SignedRejects":  {reason: "a rejection may be signed", user: gitops, change: signed(hers, reject, nil), want: approval.Identity{Name: alice, Verified: true, Key: "SHA256:"}},
		"Unlisted":       {reason: "a key that is not on the list", user: gitops, change: signed(eves, nil, nil), err: "the key is not listed in ConfigMap who/tkgfix-allowed-signers", hint: "whoever keeps ConfigMap who/tkgfix-allowed-signers may write"},
		"OtherNamespace": {reason: "the list of another namespace", user: gitops, change: signed(hers, func(a *v1alpha1.Approval) { a.Namespace = other }, nil), err: "the key is not listed in ConfigMap who-other/"},
		"NoList":         {reason: "no list, no signer", user: gitops, change: signed(hers, func(a *v1alpha1.Approval) { a.Namespace = empty }, nil), err: "there is no ConfigMap who-empty/tkgfix-allowed-signers", hint: "kubectl create configmap tkgfix-allowed-signers -n who-empty --from-file=allowed_signers=FILE"},
		"OtherRun":       {reason: "she signed that for another run", user: gitops, change: signed(hers, nil, func(a *v1alpha1.Approval) { a.Spec.Run = "trust-ffffffff" }), err: "does not match what is to be signed"},
		"OtherGate":      {reason: "or another gate", user: gitops, change: signed(hers, nil, func(a *v1alpha1.Approval) { a.Spec.Gate = "announce" }), err: "does not match what is to be signed"},
		"OtherDigest":    {reason: "or other changes", user: gitops, change: signed(hers, nil, func(a *v1alpha1.Approval) { a.Spec.Digest = strings.Replace(digest, "00", "11", 1) }), err: "does not match what is to be signed"},
		"Turned":         {reason: "she rejected", user: gitops, change: signed(hers, reject, func(a *v1alpha1.Approval) { a.Spec.Decision = v1alpha1.DecisionApprove }), err: "does not match what is to be signed"},
		"TurnedReject":   {reason: "a rejection in her name was not hers", user: gitops, change: signed(hers, nil, reject), err: "does not match what is to be signed"},
		"OtherReason":    {reason: "words in her mouth", user: gitops, change: signed(hers, nil, func(a *v1alpha1.Approval) { a.Spec.Reason = "as agreed with bob" }), err: "does not match what is to be signed"},
		"OtherName":      {reason: "her signature under his name would let one count twice", user: gitops, change: signed(hers, approver(bob), nil), err: "it is signed by " + alice + ", and spec.approver is " + bob, hint: "spec.approver: " + alice},
		"SecondName":     {reason: "nor under another name of hers", user: gitops, change: signed(hers, approver("alice"), nil), err: "and spec.approver is alice"},
		"Expired":        {reason: "the key was over when the Approval was made", user: gitops, change: signed(his, approver(bob), nil), err: "the key expired"},
		"Rubbish":        {reason: "no signature", user: gitops, change: func(a *v1alpha1.Approval) { a.Spec.Signature = "x" }, err: "not an SSH signature"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := made(func(a *v1alpha1.Approval) { a.Namespace = team })
			if tc.change != nil {
				tc.change(a)
			}
			if err := clientOf(t, tc.user).Create(t.Context(), a); err != nil {
				t.Fatal(err)
			}
			got, err := judge(t).Who(t.Context(), a)
			if tc.want.Key != "" && strings.HasPrefix(got.Key, tc.want.Key) {
				got.Key = tc.want.Key
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s: who (-want, +got):\n%s", tc.reason, diff)
			}
			uncounted(t, tc.reason, err, tc.err, tc.hint)
		})
	}
}

// uncounted wants no error for an empty text, else one that says that the Approval does not count, and what to do.
func uncounted(t *testing.T, reason string, err error, want, hint string) {
	t.Helper()
	if want == "" {
		if err != nil {
			t.Errorf("%s: %v", reason, err)
		}
		return
	}
	if !errors.Is(err, approvals.ErrNotCounted) || !strings.Contains(err.Error(), want) || !strings.Contains(plugins.HintOf(err), hint) {
		t.Errorf("%s: got %v (%s), want that it does not count: %q (%q)", reason, err, plugins.HintOf(err), want, hint)
	}
}

// TestWhoNow judges at another time than that of the creation.
func TestWhoNow(t *testing.T) {
	t.Parallel()
	var policy struct{ metav1.PartialObjectMetadata }
	policy.SetGroupVersionKind(policyKind)
	admin := clientOf(t, "")
	if err := admin.Get(t.Context(), client.ObjectKey{Name: "tkgfix-approver"}, &policy.PartialObjectMetadata); err != nil {
		t.Fatal(err)
	}
	var forged v1alpha1.Approval
	if err := admin.Get(t.Context(), client.ObjectKeyFromObject(before), &forged); err != nil {
		t.Fatal(err)
	}
	at := func(d time.Duration) *v1alpha1.Approval {
		a := forged.DeepCopy()
		a.CreationTimestamp = metav1.NewTime(policy.CreationTimestamp.Add(d))
		return a
	}
	rejected := forged.DeepCopy()
	rejected.Spec.Decision = v1alpha1.DecisionReject
	undecided := at(time.Hour)
	undecided.Spec.Decision = "maybe"
	deleted := at(time.Hour)
	deleted.DeletionTimestamp = new(metav1.Now())
	for name, tc := range map[string]struct {
		reason string
		object *v1alpha1.Approval
		want   approval.Identity
		err    string
	}{
		"Before":    {"nobody looked whose name it bears", &forged, approval.Identity{}, "it is not signed, and must be, since it was made at "},
		"TooSoon":   {"an API server may not have heeded the policy yet", at(9 * time.Second), approval.Identity{}, "not yet 10s after ValidatingAdmissionPolicy tkgfix-approver"},
		"InTime":    {"by then each has", at(10 * time.Second), approval.Identity{Name: alice, Verified: true}, ""},
		"Rejected":  {"a rejection counts, and the name is as good as the word", rejected, approval.Identity{Name: alice}, ""},
		"Undecided": {"neither yes nor no", undecided, approval.Identity{}, `its decision is "maybe"`},
		"Deleted":   {"who deletes it takes it back", deleted, approval.Identity{}, "it is being deleted"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := (&approvals.Judge{Reader: admin}).Who(t.Context(), tc.object)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s: who (-want, +got):\n%s", tc.reason, diff)
			}
			uncounted(t, tc.reason, err, tc.err, "")
		})
	}
}

// TestUnknown keeps what cannot be found out apart from what does not count.
func TestUnknown(t *testing.T) {
	t.Parallel()
	k := newKey(t)
	signed := made(func(a *v1alpha1.Approval) { a.Namespace, a.Name, a.UID = team, "a", "u"; k.sign(t, a) })
	unsigned := made(nil)
	// The kinds are asked of the API server, the objects of a port where nobody listens.
	config, err := configOf("")
	if err != nil {
		t.Fatal(err)
	}
	nowhere := rest.CopyConfig(config)
	nowhere.Host = "https://127.0.0.1:1"
	gone, err := client.New(nowhere, client.Options{Scheme: scheme, Mapper: clientOf(t, "").RESTMapper()})
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		reason string
		reader client.Reader
		kind   plugins.ErrorKind
		want   string
	}{
		"Gone":    {"an API server that does not answer has not said no", gone, plugins.KindTransient, "127.0.0.1:1"},
		"Refused": {"who may not read the ground cannot judge", clientOf(t, carol), plugins.KindFailed, "cannot get resource"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			j := &approvals.Judge{Reader: tc.reader, Settle: -1}
			_, unsignedErr := j.Who(t.Context(), unsigned)
			_, signedErr := j.Who(t.Context(), signed)
			_, vouchErr := j.Vouch(team)(t.Context(), run, approvals.Decision(signed, approval.Identity{}))
			for what, err := range map[string]error{"unsigned": unsignedErr, "signed": signedErr, "vouch": vouchErr} {
				if err == nil || errors.Is(err, approvals.ErrNotCounted) || plugins.KindOf(err) != tc.kind || !strings.Contains(err.Error(), tc.want) {
					t.Errorf("%s: %s: got %v, want one of kind %s with %q", tc.reason, what, err, tc.kind, tc.want)
				}
			}
		})
	}
}

// TestVouch asks again for what a journal holds.
func TestVouch(t *testing.T) {
	t.Parallel()
	const other = "vouch-other"
	namespace(t, other, "")
	admin := clientOf(t, "")
	for name, tc := range map[string]struct {
		reason string
		run    string
		// journal changes what the journal holds, cluster what the cluster does by then.
		journal func(*approval.Decision)
		cluster func(*v1alpha1.Approval) error
		err     string
	}{
		"Stands":      {reason: "as it was"},
		"OtherRun":    {reason: "it is on another run", run: "trust-ffffffff", err: "something else"},
		"OtherGate":   {reason: "the journal was changed", journal: func(d *approval.Decision) { d.Gate = "delete" }, err: "something else"},
		"OtherDigest": {reason: "the journal was changed", journal: func(d *approval.Decision) { d.Digest = "sha256:ff" }, err: "something else"},
		"Turned":      {reason: "the journal was changed", journal: func(d *approval.Decision) { d.Approved = false }, err: "something else"},
		"OtherReason": {reason: "the journal was changed", journal: func(d *approval.Decision) { d.Reason = "no" }, err: "something else"},
		"OtherSigner": {reason: "the journal was changed", journal: func(d *approval.Decision) { d.Signature = "x" }, err: "something else"},
		"NoRef":       {reason: "the journal was changed", journal: func(d *approval.Decision) { d.Ref = "Approval x" }, err: `"Approval x" names no Approval`},
		"Elsewhere": {reason: "an Approval of another namespace is made by other people", journal: func(d *approval.Decision) {
			d.Ref = strings.Replace(d.Ref, team, other, 1)
		}, err: "another namespace than its run, " + team},
		"Withdrawn": {reason: "who deletes it takes it back", cluster: func(a *v1alpha1.Approval) error { return admin.Delete(t.Context(), a) }, err: "is not there any more"},
		"Again": {reason: "the same once more is another", cluster: func(a *v1alpha1.Approval) error {
			again := &v1alpha1.Approval{ObjectMeta: metav1.ObjectMeta{Namespace: a.Namespace, Name: a.Name}, Spec: a.Spec}
			return errors.Join(admin.Delete(t.Context(), a), clientOf(t, alice).Create(t.Context(), again))
		}, err: "another has its name"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := made(nil)
			if err := clientOf(t, alice).Create(t.Context(), a); err != nil {
				t.Fatal(err)
			}
			by := approval.Identity{Name: alice, Verified: true}
			d := approvals.Decision(a, by)
			if tc.journal != nil {
				tc.journal(&d)
			}
			if tc.cluster != nil {
				if err := tc.cluster(a); err != nil {
					t.Fatal(err)
				}
			}
			of := run
			if tc.run != "" {
				of = tc.run
			}
			got, err := judge(t).Vouch(team)(t.Context(), of, d)
			uncounted(t, tc.reason, err, tc.err, "")
			if tc.err == "" && got != by {
				t.Errorf("%s: got %v, want %v", tc.reason, got, by)
			}
		})
	}
}

func TestParseRef(t *testing.T) {
	t.Parallel()
	a := &v1alpha1.Approval{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "a", UID: "u"}}
	at, uid, err := approvals.ParseRef(approvals.Ref(a))
	if err != nil || at != client.ObjectKeyFromObject(a) || uid != a.UID {
		t.Errorf("got %s, %s, %v of %q", at, uid, err, approvals.Ref(a))
	}
	for _, bad := range []string{"", "Approval", "Approval n/a", "Approval n/a ", "Approval /a u", "Approval n/ u", "Approval n/a/b u", "Run n/a u", "Approval n/a u v"} {
		if _, _, err := approvals.ParseRef(bad); err == nil {
			t.Errorf("took %q", bad)
		}
	}
}

// TestSigners changes the list: what is judged is what it says now.
func TestSigners(t *testing.T) {
	t.Parallel()
	const team = "signers"
	k := newKey(t)
	namespace(t, team, alice+" "+k.public+"\n")
	a := made(func(a *v1alpha1.Approval) { a.Namespace = team; k.sign(t, a) })
	if err := clientOf(t, gitops).Create(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	by, err := judge(t).Who(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	admin := clientOf(t, "")
	for _, tc := range []struct{ reason, key, text, want string }{
		{"her key was taken off", v1alpha1.SignersKey, bob + " " + newKey(t).public, "the key is not listed"},
		{"nobody is listed", v1alpha1.SignersKey, "", "allows nobody"},
		{"it lies elsewhere", "signers", alice + " " + k.public, "with the key allowed_signers"},
	} {
		c := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: team, Name: v1alpha1.SignersConfigMap}, Data: map[string]string{tc.key: tc.text}}
		if err := admin.Update(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		_, err := judge(t).Vouch(team)(t.Context(), run, approvals.Decision(a, by))
		uncounted(t, tc.reason, err, tc.want, "")
	}
}
