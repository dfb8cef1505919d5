package sdk_test

import (
	"bytes"
	"encoding/json"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tkgfix/tkgfix/plugins/sdk"
)

type input struct {
	Cluster string            `json:"cluster"`
	Count   int               `json:"count"`
	Trust   []struct{ X int } `json:"trust"`
}

func TestInput(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason string
		raw    string
		want   input
		err    string
	}{
		"Object":   {reason: "an object is decoded", raw: ` {"cluster":"a/b","count":2} `, want: input{Cluster: "a/b", Count: 2}},
		"Empty":    {reason: "no input is an empty object", raw: "", want: input{}},
		"Unknown":  {reason: "an unknown key is named", raw: `{"clutser":"a/b"}`, err: `unknown input "clutser"`},
		"Type":     {reason: "a wrong type is named with both types", raw: `{"cluster":1}`, err: `input "cluster" must be string, not number`},
		"Nested":   {reason: "a wrong type inside is named with its path", raw: `{"trust":[{"X":"1"}]}`, err: `input "trust.X" must be int, not string`},
		"Array":    {reason: "only an object will do", raw: `[]`, err: "input must be an object"},
		"Null":     {reason: "null is no object", raw: `null`, err: "input must be an object"},
		"Trailing": {reason: "nothing may follow", raw: `{} {}`, err: "input must be one object: more text follows it"},
		"Garbage":  {reason: "garbage after the object is told too", raw: `{}]`, err: "input must be one object: more text follows it"},
		"Broken":   {reason: "broken JSON is told", raw: `{"cluster"`, err: "decode input: unexpected EOF"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := sdk.Input[input](json.RawMessage(tc.raw))
			text := ""
			if err != nil {
				text = err.Error()
			}
			if diff := cmp.Diff(tc.err, text); diff != "" {
				t.Errorf("%s: error (-want, +got):\n%s", tc.reason, diff)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s (-want, +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func FuzzInput(f *testing.F) {
	for _, seed := range []string{`{"cluster":"a/b"}`, `{"cluster":1}`, `{}{}`, `null`, `{"trust":[{"X":1}]}`, "\xff{"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		text := bytes.TrimSpace(raw)
		if _, err := sdk.Input[input](raw); err == nil && len(text) > 0 && !json.Valid(text) {
			t.Errorf("took %q, which is no JSON", raw)
		}
	})
}

func TestOutput(t *testing.T) {
	t.Parallel()
	got, err := sdk.Output(map[string]any{"ok": true})
	if diff := cmp.Diff(`{"ok":true}`, string(got)); diff != "" || err != nil {
		t.Errorf("err %v (-want, +got):\n%s", err, diff)
	}
	if _, err := sdk.Output(math.NaN()); err == nil {
		t.Error("what JSON cannot hold is taken")
	}
}

func TestEnvComplete(t *testing.T) {
	t.Parallel()
	if (sdk.Env{}).Complete().Now == nil {
		t.Error("the zero Env has no clock")
	}
}
