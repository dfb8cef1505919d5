package approval_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tkgfix/tkgfix/internal/approval"
)

var opened = time.Date(2026, 11, 23, 22, 0, 0, 0, time.UTC)

func gate(p approval.Policy) approval.Gate {
	return approval.Gate{Name: "recreate", Digest: "d1", Policy: p, Shown: opened, Requester: approval.Identity{Name: "ann@jump"}}
}

func yes(name string) approval.Decision {
	return approval.Decision{Gate: "recreate", Digest: "d1", Approved: true, By: approval.Identity{Name: name}}
}

func signed(name, key string) approval.Decision {
	d := yes(name)
	d.By.Verified, d.By.Key = true, key
	return d
}

func TestJudge(t *testing.T) {
	t.Parallel()
	other := yes("bob@desk")
	other.Digest = "d0"
	no := approval.Decision{Gate: "recreate", Digest: "d1", By: approval.Identity{Name: "cyd@desk"}, Reason: "freeze"}
	oldNo := no
	oldNo.Digest = "d0"
	two := approval.Policy{Required: 2}
	for name, tc := range map[string]struct {
		reason    string
		policy    approval.Policy
		decisions []approval.Decision
		after     time.Duration
		want      approval.Verdict
		missing   int
	}{
		"None":          {"nobody decided", two, nil, 0, approval.Pending, 2},
		"NoPolicy":      {"a policy that says nothing wants one approval, of somebody else", approval.Policy{}, []approval.Decision{yes("ann@jump")}, 0, approval.Pending, 1},
		"Other":         {"an approval of something else", two, []approval.Decision{other, yes("cyd@desk")}, 0, approval.Pending, 1},
		"Two":           {"two people", two, []approval.Decision{yes("bob@desk"), yes("cyd@desk")}, 0, approval.Approved, 0},
		"TwoMachines":   {"one name from two machines is two names: only who began the run is held to be one", two, []approval.Decision{yes("bob@desk"), yes("bob@lap")}, 0, approval.Approved, 0},
		"OneKey":        {"one key under two names is one voice", two, []approval.Decision{signed("bob@corp", "k"), signed("cyd@corp", "k")}, 0, approval.Pending, 1},
		"KeyAndWord":    {"one person with a key and without is one voice", two, []approval.Decision{signed("bob@corp", "k"), yes("sso:bob@vsphere.local")}, 0, approval.Pending, 1},
		"TwoKeys":       {"people of one name with keys of their own are two: the list of signers says so", two, []approval.Decision{signed("bob@corp", "k"), signed("bob@other", "l")}, 0, approval.Approved, 0},
		"Unsigned":      {"a word does not count where signatures are wanted", approval.Policy{Required: 1, Signed: true}, []approval.Decision{yes("bob@corp")}, 0, approval.Pending, 1},
		"Rejected":      {"a rejection counts whenever it came", two, []approval.Decision{yes("bob@desk"), yes("dan@desk"), no}, 0, approval.Rejected, 0},
		"RejectedOther": {"a rejection of other changes is none of these", two, []approval.Decision{oldNo, yes("bob@desk"), yes("dan@desk")}, 0, approval.Approved, 0},
		"InTime":        {"the last instant", approval.Policy{Required: 1, ExpiresAfter: time.Hour}, []approval.Decision{yes("bob@desk")}, time.Hour - 1, approval.Approved, 0},
		"Late":          {"the first instant after", approval.Policy{Required: 1, ExpiresAfter: time.Hour}, []approval.Decision{yes("bob@desk")}, time.Hour, approval.Rejected, 0},
		"LateUndecided": {"undecided is rejected too", approval.Policy{Required: 1, ExpiresAfter: time.Hour}, nil, 2 * time.Hour, approval.Rejected, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := gate(tc.policy).Judge(tc.decisions, opened.Add(tc.after))
			if got.Verdict != tc.want || got.Missing != tc.missing {
				t.Errorf("%s: %s, %d missing; want %s, %d", tc.reason, got.Verdict, got.Missing, tc.want, tc.missing)
			}
			if (got.Verdict == approval.Rejected) != (got.Why != "") {
				t.Errorf("%s: verdict %s because %q", tc.reason, got.Verdict, got.Why)
			}
		})
	}
}

func TestEntered(t *testing.T) {
	t.Parallel()
	g := gate(approval.Policy{Required: 1, ExpiresAfter: time.Hour})
	if got := g.Entered([]approval.Decision{yes("bob@desk")}); got.Verdict != approval.Approved {
		t.Errorf("a gate that was gone through in time: %+v", got)
	}
	if got := g.Entered(nil); got.Verdict != approval.Pending {
		t.Errorf("a gate that nobody approved: %+v", got)
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	prefix := yes("bob@desk")
	prefix.Digest = "d"
	reject := approval.Decision{Gate: "recreate", Digest: "d1", By: approval.Identity{Name: "ann@jump"}}
	for name, tc := range map[string]struct {
		reason   string
		policy   approval.Policy
		decision approval.Decision
		earlier  []approval.Decision
		after    time.Duration
		want     error
	}{
		"Good":      {"somebody else", approval.Policy{Required: 1}, yes("bob@desk"), nil, 0, nil},
		"Prefix":    {"a part of the digest", approval.Policy{Required: 1}, prefix, nil, 0, approval.ErrDigest},
		"Requester": {"who began the run", approval.Policy{Required: 1}, yes("ann@jump"), nil, 0, approval.ErrRequester},
		"Prefixed":  {"who began the run, as an API server calls them", approval.Policy{Required: 1}, yes("sso:ann@vsphere.local"), nil, 0, approval.ErrRequester},
		"Domain":    {"or a directory", approval.Policy{Required: 1}, yes(`CORP\Ann`), nil, 0, approval.ErrRequester},
		"Issuer":    {"or an issuer", approval.Policy{Required: 1}, signed("https://id.example.com/realm#ann", "k"), nil, 0, approval.ErrRequester},
		"Ending":    {"a name that ends in a prefix is itself", approval.Policy{Required: 1}, yes("ann:"), nil, 0, nil},
		"RejectOwn": {"who began the run may stop it", approval.Policy{Required: 1}, reject, nil, 0, nil},
		"Allowed":   {"who began the run, if the policy says so", approval.Policy{Required: 1, Requester: true}, yes("ann@jump"), nil, 0, nil},
		"Stranger":  {"not on the list", approval.Policy{Required: 1, Approvers: []string{"bob@corp"}}, signed("eve@corp", "k"), nil, 0, approval.ErrApprover},
		"Unsigned":  {"a name on the list without a signature", approval.Policy{Required: 1, Signed: true, Approvers: []string{"bob@corp"}}, yes("bob@corp"), nil, 0, approval.ErrUnsigned},
		"Twice":     {"the same again", approval.Policy{Required: 2}, yes("bob@desk"), []approval.Decision{yes("bob@desk")}, 0, approval.ErrTwice},
		"Late":      {"after the end", approval.Policy{Required: 1, ExpiresAfter: time.Minute}, yes("bob@desk"), nil, time.Minute, approval.ErrExpired},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := gate(tc.policy).Check(tc.decision, tc.earlier, opened.Add(tc.after)); !errors.Is(err, tc.want) {
				t.Errorf("%s: got %v, want %v", tc.reason, err, tc.want)
			}
		})
	}
}

func TestOutcomeNamesThePeople(t *testing.T) {
	t.Parallel()
	got := gate(approval.Policy{Required: 2}).Judge([]approval.Decision{yes("bob@desk"), yes("bob@desk"), yes("cyd@desk")}, opened)
	if diff := cmp.Diff([]approval.Identity{{Name: "bob@desk"}, {Name: "cyd@desk"}}, got.By); diff != "" {
		t.Errorf("who approved (-want, +got):\n%s", diff)
	}
}
