package crashtest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tkgfix/tkgfix/internal/crashtest"
	"github.com/tkgfix/tkgfix/internal/engine"
	"github.com/tkgfix/tkgfix/internal/state"
	"github.com/tkgfix/tkgfix/internal/state/file"
)

// desk is a world with a lamp and its bulb, on a server that keeps an audit log and enforces nothing.
type desk struct {
	t      *testing.T
	mutant string
}

func (w desk) Up(context.Context) (crashtest.Place, error) {
	p := &deskPlace{
		desk: w, dir: w.t.TempDir(), nextUID: 2,
		things: map[string]thing{"lamps/desk": {UID: "u0", Name: "desk", Serial: "s1"}, "bulbs/desk": {UID: "u1", Name: "desk"}},
	}
	p.server = httptest.NewServer(p)
	return p, nil
}

type deskPlace struct {
	desk
	dir    string
	server *httptest.Server

	mu      sync.Mutex
	things  map[string]thing
	writes  []crashtest.Write
	nextUID int
}

// ServeHTTP implements http.Handler.
func (p *deskPlace) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	key := strings.TrimPrefix(r.URL.Path, "/")
	t, there := p.things[key]
	resource, name, _ := strings.Cut(key, "/")
	var sent thing
	if err := json.NewDecoder(io.LimitReader(r.Body, 1<<20)).Decode(&sent); err != nil && r.Method != http.MethodGet && r.Method != http.MethodDelete {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	verb := ""
	switch {
	case r.Method == http.MethodPost && there:
		http.Error(w, "exists", http.StatusConflict)
		return
	case r.Method == http.MethodPost:
		verb = "create"
		t = thing{UID: fmt.Sprintf("u%d", p.nextUID), Name: name, Run: sent.Run}
		p.nextUID++
		p.things[key] = t
	case !there || r.Method == http.MethodDelete && r.URL.Query().Get("uid") != t.UID:
		http.NotFound(w, r)
		return
	case r.Method == http.MethodPatch:
		verb = "patch"
		t.Lit = sent.Lit
		p.things[key] = t
	case r.Method == http.MethodDelete:
		verb = "delete"
		delete(p.things, key)
	}
	if verb != "" {
		p.writes = append(p.writes, crashtest.Write{At: time.Now(), Verb: verb, Resource: resource, Name: name, UID: t.UID, By: "tkgfix"})
	}
	if err := json.NewEncoder(w).Encode(t); err != nil {
		p.t.Error(err)
	}
}

func (p *deskPlace) Engine(ctx context.Context) *exec.Cmd {
	return exec.CommandContext(ctx, os.Args[0], "engine", p.mutant, p.dir, p.server.URL)
}

func (p *deskPlace) Journal() state.Store { return file.New(p.dir) }

func (p *deskPlace) Writes(context.Context) ([]crashtest.Write, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.writes), nil
}

func (p *deskPlace) End(_ context.Context, r *engine.Run) ([]string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l, b := p.things["lamps/desk"], p.things["bulbs/desk"]
	return []string{fmt.Sprintf("lamp: %s lit %t", l.Serial, l.Lit), fmt.Sprintf("bulb: new %t, of this run %t", b.UID != "u1", b.Run == r.ID)}, nil
}

func (p *deskPlace) Close(context.Context) error {
	p.server.Close()
	return nil
}

// Meddle exchanges the lamp for one with another serial number.
func (p *deskPlace) Meddle(context.Context) (func(context.Context) error, error) {
	set := func(serial string) {
		p.mu.Lock()
		defer p.mu.Unlock()
		t := p.things["lamps/desk"]
		t.Serial = serial
		p.things["lamps/desk"] = t
	}
	set("s2")
	return func(context.Context) error { set("s1"); return nil }, nil
}

// Break puts another lock file in the place of the one that is held.
func (p *deskPlace) Break(_ context.Context, run string) error {
	return os.Remove(filepath.Join(p.dir, "runs", run, "lock"))
}
