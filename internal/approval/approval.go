// Package approval judges who may approve what. It is pure policy: it reads no clock, no journal and no key.
package approval

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Identity is who decided.
type Identity struct {
	// Name is user@host for a person known only by the operating system, the principal for the signer of a decision, the user name for
	// one whom an API server has authenticated.
	Name string `json:"name"`
	// Verified is false if nothing but the operating system's word stands for the name.
	Verified bool `json:"verified"`
	// Key is the fingerprint of the key that signed, if one did.
	Key string `json:"key,omitempty"`
}

// Decision is a person's word on a gate.
type Decision struct {
	Gate     string   `json:"gate"`
	Digest   string   `json:"digest"`
	Approved bool     `json:"approved"`
	By       Identity `json:"by"`
	Reason   string   `json:"reason,omitempty"`
	// Signature is the armored SSH signature of the decision, if it is signed.
	Signature string `json:"signature,omitempty"`
	// Ref names the object in which the decision was given, if it was not given to tkgfix itself: an Approval in a cluster.
	Ref string `json:"ref,omitempty"`
	// Auto says that nobody was asked: who ran tkgfix gave --auto-approve, which is their own approval given ahead.
	Auto bool      `json:"auto,omitempty"`
	At   time.Time `json:"at"`
}

// Policy says who may approve a gate.
type Policy struct {
	// Required is how many different people must approve, 1 at least.
	Required int `json:"required"`
	// Requester says that who began the run may be one of them.
	Requester bool `json:"requester"`
	// Approvers are the principals that may approve; none means anybody.
	Approvers []string `json:"approvers,omitempty"`
	// Signed says that an approval counts only with the signature of an allowed signer.
	Signed bool `json:"signed,omitempty"`
	// ExpiresAfter is how long after it was first shown the gate may be approved and gone through; 0 means for ever.
	ExpiresAfter time.Duration `json:"expiresAfterNanoseconds,omitempty"`
}

// Gate is what is decided on.
type Gate struct {
	Name   string
	Digest string
	Policy Policy
	// Shown is when the gate first showed this digest.
	Shown time.Time
	// Requester is who began the run.
	Requester Identity
}

// The reasons for which a decision is refused.
var (
	ErrDigest    = errors.New("the digest is not the one that the gate shows")
	ErrExpired   = errors.New("the gate has expired, which rejects it")
	ErrRequester = errors.New("who began the run may not approve it")
	ErrApprover  = errors.New("not one of the approvers")
	ErrUnsigned  = errors.New("the gate takes signed approvals only")
	ErrTwice     = errors.New("has approved already")
	// ErrNotCounted is for a decision that stands elsewhere and of which it is known that it does not count, or not any more.
	ErrNotCounted = errors.New("it does not count")
)

// Verdict is what the decisions on a gate come to.
type Verdict string

// The verdicts.
const (
	Pending  Verdict = "pending"
	Approved Verdict = "approved"
	Rejected Verdict = "rejected"
)

// Outcome is a verdict and who stands behind it.
type Outcome struct {
	Verdict Verdict
	// By are the people whose approvals count, in the order in which they came.
	By []Identity
	// Missing is how many approvals are still wanted.
	Missing int
	// Rejection is the decision that rejected; nil if the gate expired or was not rejected.
	Rejection *Decision
	// Why says in words why it is rejected.
	Why string
}

// Deadline returns when the gate expires; the zero time if never.
func (g Gate) Deadline() time.Time {
	if g.Policy.ExpiresAfter <= 0 || g.Shown.IsZero() {
		return time.Time{}
	}
	return g.Shown.Add(g.Policy.ExpiresAfter)
}

// Expired says whether the gate can no longer be approved or gone through.
func (g Gate) Expired(now time.Time) bool {
	end := g.Deadline()
	return !end.IsZero() && !now.Before(end)
}

// Check refuses a decision that may not count. The digest must be the whole one: a prefix would let an approval cover what
// nobody saw. Anybody who can reach the gate may reject.
func (g Gate) Check(d Decision, earlier []Decision, now time.Time) error {
	if d.Digest != g.Digest {
		return fmt.Errorf("%w: %s shows %s, the decision names %q", ErrDigest, g.Name, g.Digest, d.Digest)
	}
	if g.Expired(now) {
		return fmt.Errorf("gate %s: %w (it was open until %s)", g.Name, ErrExpired, g.Deadline().UTC().Format(time.RFC3339))
	}
	if !d.Approved {
		return nil
	}
	if err := g.allows(d); err != nil {
		return fmt.Errorf("gate %s: %w", g.Name, err)
	}
	for _, e := range earlier {
		if e.Digest == g.Digest && e.Approved && oneVoice(e.By, d.By) {
			return fmt.Errorf("gate %s: %s %w, and %d different people are required", g.Name, d.By.Name, ErrTwice, g.required())
		}
	}
	return nil
}

// allows says why an approval by this person does not count; nil if it does.
func (g Gate) allows(d Decision) error {
	switch {
	case g.Policy.Signed && d.By.Key == "":
		return fmt.Errorf("%w: that of %s is not", ErrUnsigned, d.By.Name)
	case len(g.Policy.Approvers) > 0 && !slices.Contains(g.Policy.Approvers, d.By.Name):
		return fmt.Errorf("%s is %w, who are %s", d.By.Name, ErrApprover, strings.Join(g.Policy.Approvers, ", "))
	case !g.Policy.Requester && samePerson(d.By, g.Requester):
		return fmt.Errorf("%w: %s began it", ErrRequester, g.Requester.Name)
	}
	return nil
}

// samePerson compares bare user names: the same person has one host when asking and another name in a key's principal, and API servers put
// before a name where it comes from, as in sso:alice@vsphere.local. Two people with one user name are taken for one, which errs on the
// safe side.
func samePerson(a, b Identity) bool { return bareName(a.Name) == bareName(b.Name) }

// bareName returns what stands before the @ and after what an authenticator prefixes: oidc:, DOMAIN\ or https://issuer#.
func bareName(name string) string {
	user, _, _ := strings.Cut(name, "@")
	if bare := user[strings.LastIndexAny(user, `:\/#`)+1:]; bare != "" {
		user = bare
	}
	return strings.ToLower(user)
}

// oneVoice says whether two approvals count as one: the same name, the same key under two names, or one person's word once with a key and
// once without.
func oneVoice(a, b Identity) bool {
	return a.Name == b.Name || a.Key != "" && a.Key == b.Key || (a.Key == "") != (b.Key == "") && samePerson(a, b)
}

func (g Gate) required() int { return max(g.Policy.Required, 1) }

// Judge returns what the decisions come to at the time now. A rejection counts whenever it was given; an approval counts only for
// the digest that it names, and each person once. A gate that has expired is rejected, approved or not: what was approved in
// time and not gone through was approved for another day.
func (g Gate) Judge(decisions []Decision, now time.Time) Outcome {
	out := g.tally(decisions)
	if out.Verdict != Rejected && g.Expired(now) {
		return Outcome{Verdict: Rejected, Why: fmt.Sprintf("it was open until %s, and an expired gate is a rejected one", g.Deadline().UTC().Format(time.RFC3339))}
	}
	return out
}

// Entered returns what the decisions came to for a gate that was gone through already, when its expiry no longer matters.
func (g Gate) Entered(decisions []Decision) Outcome { return g.tally(decisions) }

func (g Gate) tally(decisions []Decision) Outcome {
	out := Outcome{Verdict: Pending}
	for i := range decisions {
		d := &decisions[i]
		if d.Digest != g.Digest {
			continue
		}
		if !d.Approved {
			why := "by " + d.By.Name
			if d.Reason != "" {
				why += ": " + d.Reason
			}
			return Outcome{Verdict: Rejected, Rejection: d, Why: why}
		}
		if g.allows(*d) == nil && !slices.ContainsFunc(out.By, func(b Identity) bool { return oneVoice(b, d.By) }) {
			out.By = append(out.By, d.By)
		}
	}
	out.Missing = max(g.required()-len(out.By), 0)
	if out.Missing == 0 {
		out.Verdict = Approved
	}
	return out
}
