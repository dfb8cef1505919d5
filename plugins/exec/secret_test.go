package exec

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/tkgfix/tkgfix/plugins"
	"github.com/tkgfix/tkgfix/plugins/internal/redact"
	"github.com/tkgfix/tkgfix/plugins/plugintest"
)

// TestNoSecretIsSeen has command and observe print a passed variable in every way that they can, and looks for its bytes in all that the
// step answers.
func TestNoSecretIsSeen(t *testing.T) {
	t.Parallel()
	const secret = "hunter2\"correct-horse\\battery"
	const password = "pa55w0rd"
	forbidden := []string{secret, "correct-horse", "battery", password}
	env := map[string]string{"TOKEN": secret, "HTTPS_PROXY": "http://someone:" + password + "@proxy.example:3128"}
	pass := []string{"TOKEN", "HTTPS_PROXY"}
	say := `printf '%s\n' "$TOKEN"; printf 'proxy says no to %s\n' ` + password + `; echo "$HTTPS_PROXY"`
	cases := map[string]struct {
		reason  string
		command string
		observe string
	}{
		"Stdout":  {reason: "what it prints", command: say},
		"Fails":   {reason: "what it prints last", command: "{ " + say + "; } >&2; exit 1"},
		"JSON":    {reason: "what JSON writes otherwise", command: `printf '%s' '{"hunter2\"correct-horse\\battery": ["x hunter2\"corr\u0065ct-horse\\battery"]}'`},
		"Edge":    {reason: "what lies on the edge of what is kept", command: `printf '%065530d%s' 0 "$TOKEN"`},
		"Tail":    {reason: "what lies on the other edge", command: `{ printf '%s' "$TOKEN"; printf '%016372d\nlast' 0; } >&2; exit 1`},
		"Names":   {reason: "arguments that are secret by accident", command: `exit 1`},
		"Observe": {reason: "what observe says", observe: say + "; exit 1"},
		"Sees":    {reason: "what observe fails with", observe: "{ " + say + "; } >&2; exit 9"},
		"Unknown": {reason: "what a person is told to check", observe: say + "; exit 3"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := plugintest.Connect(t, newStep(env))
			var seen bytes.Buffer
			enc := json.NewEncoder(&seen)
			enc.SetEscapeHTML(false)
			look := func(resp any, err error) {
				if e := enc.Encode(resp); e != nil {
					t.Fatal(e)
				}
				if err != nil {
					seen.WriteString(err.Error() + "\n" + plugins.HintOf(err))
				}
			}
			if tc.observe == "" {
				look(s.Plan(t.Context(), plugins.PlanRequest{Effect: plugins.Read, Input: encode(t, m{"command": []string{script(t, tc.command), password}, "pass": pass})}))
			} else {
				in := m{"command": []string{script(t, say)}, "observe": []string{script(t, tc.observe)}, "target": "t", "pass": pass}
				req := plugins.PlanRequest{Effect: plugins.Change, Input: encode(t, in)}
				resp, err := s.Plan(t.Context(), req)
				look(resp, err)
				if err == nil {
					host := &plugintest.Host{}
					host.Set(effectKey, plugins.EffectIntended)
					if tc.reason == cases["Observe"].reason {
						return // it says no for good: nothing ends this Apply
					}
					look(s.Apply(t.Context(), plugins.ApplyRequest{Effect: plugins.Change, Input: req.Input, Changes: resp.Changes}, host))
					look(host.Calls(), nil)
				}
			}
			if seen.Len() < 100 {
				t.Fatalf("nothing was seen: %s", &seen)
			}
			for _, f := range forbidden {
				for _, form := range []string{f, strings.Trim(string(encode(t, f)), `"`)} {
					if bytes.Contains(seen.Bytes(), []byte(form)) {
						t.Errorf("%s: %q is seen in:\n%s", tc.reason, form, cutTo(seen.String()))
					}
				}
			}
		})
	}
}

func cutTo(s string) string {
	if len(s) > 2000 {
		return s[:1000] + " … " + s[len(s)-1000:]
	}
	return s
}

func TestEdgesShowNoPart(t *testing.T) {
	t.Parallel()
	env := map[string]string{"TOKEN": "abcdefghijklmnop"}
	_, out, err := read(t, newStep(env), m{"command": []string{"sh", "-c", `printf '%065530d%s%s' 0 "$TOKEN" rest`}, "pass": []string{"TOKEN"}})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(out.Stdout, "00"+redact.Mask) || !out.Truncated {
		t.Errorf("stdout ends in %q", out.Stdout[len(out.Stdout)-20:])
	}
	_, _, err = read(t, newStep(env), m{"command": []string{"sh", "-c", `{ printf '%s' "$TOKEN"; printf '%016391d\nlast' 0; } >&2; exit 1`}, "pass": []string{"TOKEN"}})
	if err == nil || strings.Contains(err.Error(), "p0") || !strings.Contains(err.Error(), "last") {
		t.Errorf("stderr: %v", err)
	}
}
