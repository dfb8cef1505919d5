package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/tkgfix/tkgfix/plugins"
	"github.com/tkgfix/tkgfix/plugins/plugintest"
	"github.com/tkgfix/tkgfix/plugins/sdk"
)

// server is an Alertmanager, as far as this step talks to one.
type server struct {
	*httptest.Server
	mu    sync.Mutex
	all   []silence
	posts int
	// lose makes a silence and loses the answer, once.
	lose bool
}

func newServer(t *testing.T) *server {
	t.Helper()
	s := &server{all: []silence{}}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.URL.Path != "/api/v2/silences" {
		http.NotFound(w, r)
		return
	}
	if r.Method == http.MethodGet {
		_ = json.NewEncoder(w).Encode(s.all)
		return
	}
	var made silence
	if err := json.NewDecoder(r.Body).Decode(&made); err != nil || len(made.Matchers) == 0 || made.Comment == "" {
		http.Error(w, "bad silence", http.StatusBadRequest)
		return
	}
	s.posts++
	made.ID = fmt.Sprintf("id-%d", s.posts)
	s.all = append(s.all, made)
	if s.lose {
		s.lose = false
		http.Error(w, "lost", http.StatusBadGateway)
		return
	}
	_ = json.NewEncoder(w).Encode(map[string]string{"silenceID": made.ID})
}

func (s *server) input() json.RawMessage {
	return json.RawMessage(fmt.Sprintf(`{"url": %q, "labels": {"cluster": "dev1"}, "hours": 4}`, s.URL))
}

func TestConformance(t *testing.T) {
	t.Parallel()
	fresh, covered := newServer(t), newServer(t)
	covered.all = []silence{{ID: "id-0", Matchers: []matcher{{Name: "cluster", Value: "dev1"}}, EndsAt: time.Now().Add(48 * time.Hour), CreatedBy: "alice"}}
	plugintest.Conformance(t, newStep(sdk.Env{}), plugintest.Cases{Samples: map[string]plugintest.Sample{
		"Fresh": {
			Reason: "an Alertmanager without the silence is to get one", Input: fresh.input(),
			Check: func(t *testing.T, resp plugins.PlanResponse) {
				t.Helper()
				if len(resp.Changes) != 1 || resp.Changes[0].Target.Name != "cluster=dev1" {
					t.Errorf("changes: %+v", resp.Changes)
				}
			},
		},
		"Covered": {
			Reason: "one that has it is left alone", Input: covered.input(),
			Check: func(t *testing.T, resp plugins.PlanResponse) {
				t.Helper()
				if len(resp.Changes) != 0 {
					t.Errorf("changes: %+v", resp.Changes)
				}
			},
		},
	}})
	if fresh.posts+covered.posts > 0 {
		t.Error("planning made a silence")
	}
}

// TestOneSilenceForARun kills the step's host at each call, and goes on with the same journal: there must be one silence in the end.
func TestOneSilenceForARun(t *testing.T) {
	t.Parallel()
	errKilled := errors.New("killed")
	for name, at := range map[string]plugintest.Method{"BeforeIntent": plugintest.MethodIntend, "BeforeDone": plugintest.MethodDone} {
		for _, lose := range []bool{false, true} {
			t.Run(fmt.Sprint(name, lose), func(t *testing.T) {
				t.Parallel()
				am := newServer(t)
				am.lose = lose
				killed := false
				host := &plugintest.Host{Before: func(c plugintest.Call) error {
					if c.Method == at && !killed {
						killed = true
						return errKilled
					}
					return nil
				}}
				remote := plugintest.Connect(t, newStep(sdk.Env{}))
				req := plugins.ApplyRequest{RunID: "r1", StepID: "quiet", Input: am.input()}
				var resp plugins.ApplyResponse
				err := errKilled
				for n := 0; err != nil && n < 4; n++ {
					resp, err = remote.Apply(context.Background(), req, host)
				}
				if err != nil || string(resp.Outputs) != `{"silence":"id-1"}` || am.posts != 1 {
					t.Errorf("want one silence, got %d, %s, %v", am.posts, resp.Outputs, err)
				}
			})
		}
	}
}
