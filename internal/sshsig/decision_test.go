package sshsig_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/tkgfix/tkgfix/internal/approval"
	"github.com/tkgfix/tkgfix/internal/sshsig"
)

// TestIdentify has the same decision signed by stock ssh-keygen, and changes it.
func TestIdentify(t *testing.T) {
	t.Parallel()
	k := newKey(t)
	allowed := parse(t, `alice@example.com valid-before="20270101Z" `+k.public(t))
	given := approval.Decision{Gate: "trust", Digest: "sha256:00", Approved: true, Reason: "窗口内", At: noon()}
	text, err := sshsig.Of("01kb3h0zq2v9k3q4m8r7t6w5y1", given).Message()
	if err != nil || string(text) != string(message(t)) {
		t.Fatalf("signed is %q, %v", text, err)
	}
	given.Signature = string(stockSign(t, k.file, sshsig.Namespace, text))
	for name, tc := range map[string]struct {
		reason string
		change func(*approval.Decision)
		want   error
		says   string
	}{
		"Given":   {reason: "as it was signed", change: func(*approval.Decision) {}},
		"Turned":  {reason: "a rejection is no approval", change: func(d *approval.Decision) { d.Approved = false }, want: sshsig.ErrForged},
		"Reason":  {reason: "other words", change: func(d *approval.Decision) { d.Reason = "" }, want: sshsig.ErrForged},
		"Late":    {reason: "the key had expired when it was given", change: func(d *approval.Decision) { d.At = d.At.AddDate(1, 0, 0).Add(24 * time.Hour) }, want: sshsig.ErrNotAllowed},
		"Unseen":  {reason: "nobody signs what cannot be seen", change: func(d *approval.Decision) { d.Reason = "\x1b[2J" }, says: "the reason holds U+001B"},
		"Nothing": {reason: "no signature", change: func(d *approval.Decision) { d.Signature = "" }, want: sshsig.ErrMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := given
			tc.change(&d)
			got, err := allowed.Identify("01kb3h0zq2v9k3q4m8r7t6w5y1", d)
			switch {
			case tc.want == nil && tc.says == "":
				if err != nil || got.Name != "alice@example.com" || !got.Verified || !strings.HasPrefix(got.Key, "SHA256:") {
					t.Errorf("%s: got %+v, %v", tc.reason, got, err)
				}
			case err == nil || tc.want != nil && !errors.Is(err, tc.want) || !strings.Contains(err.Error(), tc.says):
				t.Errorf("%s: got %+v, %v, want %v %s", tc.reason, got, err, tc.want, tc.says)
			}
		})
	}
}
