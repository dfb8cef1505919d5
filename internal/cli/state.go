package cli

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/tkgfix/tkgfix/internal/engine"
	"github.com/tkgfix/tkgfix/internal/report"
	"github.com/tkgfix/tkgfix/internal/state"
	"github.com/tkgfix/tkgfix/plugins"
)

// stateCommand is the command about the state folder itself.
func (a *app) stateCommand() *cli.Command {
	return &cli.Command{
		Name: "state", Usage: "check journals, break a lock", OnUsageError: usage,
		Subcommands: []*cli.Command{a.stateVerify(), a.stateUnlock()},
	}
}

func (a *app) stateVerify() *cli.Command {
	return &cli.Command{
		Name: "verify", Usage: "check that journals are as they were written", ArgsUsage: "[RUN...]", OnUsageError: usage,
		Description: `Each journal is read whole and its chain of checksums verified; without RUN, those of all runs. A chain shows that no
entry was altered, but not that none is missing at the end: for that keep the head that is printed somewhere else and give it
with --head later.

   tkgfix state verify
   tkgfix state verify 01jd5x2v9k3q4m8r7t6w5y1z0a --head 12:6f1e…

EXIT STATUS: 0 all are whole, 1 one is damaged or does not hold the head.`,
		Flags: []cli.Flag{
			outputFlag("text", "json"),
			&cli.StringFlag{Name: "head", Usage: "one run must hold entry SEQ with this checksum: `SEQ:HASH`"},
		},
		Action: func(c *cli.Context) error {
			head, err := parseHead(c.String("head"))
			if err != nil {
				return err
			}
			if head != nil && c.NArg() != 1 {
				return plugins.Hint(errors.New("--head is about one run"), "%s", next(c, "state verify RUN --head SEQ:HASH"))
			}
			e, err := a.reader(c)
			if err != nil {
				return err
			}
			ids := c.Args().Slice()
			if len(ids) == 0 {
				if ids, err = e.Store.List(c.Context); err != nil {
					return err
				}
			}
			return a.verifyRuns(c, e, ids, head)
		},
	}
}

// head names an entry by its number and its checksum.
type head struct {
	Seq uint64 `json:"seq"`
	Sum string `json:"sum"`
}

func (h head) String() string { return fmt.Sprintf("%d:%s", h.Seq, h.Sum) }

func parseHead(s string) (*head, error) {
	if s == "" {
		return nil, nil
	}
	at, sum, ok := strings.Cut(s, ":")
	seq, err := strconv.ParseUint(at, 10, 64)
	if !ok || err != nil || seq == 0 || len(sum) != 64 {
		return nil, plugins.Hint(fmt.Errorf("%q is no head of a journal", s), "give it as tkgfix state verify prints it: SEQ:HASH, with the whole hash of 64 digits")
	}
	return &head{Seq: seq, Sum: strings.ToLower(sum)}, nil
}

// in refuses entries that do not hold the head.
func (h head) in(entries []state.Entry) error {
	if uint64(len(entries)) < h.Seq {
		return fmt.Errorf("entry %d is missing: the journal ends at %d", h.Seq, len(entries))
	}
	if got := entries[h.Seq-1].Sum; got != h.Sum {
		return fmt.Errorf("entry %d is another: its checksum is %s", h.Seq, got)
	}
	return nil
}

// verified is what came of verifying a journal.
type verified struct {
	ID      string `json:"id"`
	OK      bool   `json:"ok"`
	Entries int    `json:"entries"`
	Head    *head  `json:"head,omitempty"`
	// Seq and Offset name the first damaged entry: its number and where it begins, in bytes.
	Seq    uint64 `json:"damagedEntry,omitempty"`
	Offset int64  `json:"offset,omitempty"`
	Torn   bool   `json:"torn,omitempty"`
	Reason string `json:"reason,omitempty"`
}

func (a *app) verifyRuns(c *cli.Context, e *engine.Engine, ids []string, want *head) error {
	all, bad := []verified{}, 0
	for _, id := range ids {
		v, err := verifyRun(c.Context, e.Store, id, want)
		if errors.Is(err, state.ErrNotFound) || c.Context.Err() != nil {
			return explain(c, err)
		}
		all = append(all, v)
		if !v.OK {
			bad++
		}
		if c.String("output") == "text" {
			fmt.Fprintln(a.ui.Out, v)
		}
		if err != nil {
			a.ui.Error(explain(c, err))
		}
	}
	if c.String("output") == "json" {
		if err := report.JSON(a.ui.Out, all); err != nil {
			return err
		}
	}
	if bad > 0 {
		return fmt.Errorf("journals that are damaged: %d of %d", bad, len(all))
	}
	a.ui.Say("journals that are whole: %d", len(all))
	return nil
}

// verifyRun verifies one journal. The error is the reason beside what it returns.
func verifyRun(ctx context.Context, store state.Store, id string, want *head) (verified, error) {
	entries, err := store.Read(ctx, id, 1)
	v := verified{ID: id, Entries: len(entries)}
	if n := len(entries); n > 0 {
		v.Head = &head{Seq: entries[n-1].Seq, Sum: entries[n-1].Sum}
	}
	if err == nil && len(entries) == 0 {
		err = errors.New("it holds no entry")
	}
	if err == nil && want != nil {
		err = want.in(entries)
	}
	if err == nil {
		v.OK = true
		return v, nil
	}
	v.Reason = err.Error()
	if corrupt, ok := errors.AsType[*state.CorruptError](err); ok {
		v.Seq, v.Offset, v.Torn, v.Reason = corrupt.Seq, corrupt.Offset, corrupt.Torn, corrupt.Reason
	}
	return v, err
}

// String returns the line for people.
func (v verified) String() string {
	switch {
	case v.OK:
		return fmt.Sprintf("%s  ok  entries %d  head %s", v.ID, v.Entries, v.Head)
	case v.Seq > 0:
		return fmt.Sprintf("%s  DAMAGED  entry %d at offset %d: %s  whole before it: %d", v.ID, v.Seq, v.Offset, v.Reason, v.Entries)
	}
	return fmt.Sprintf("%s  DAMAGED  %s", v.ID, v.Reason)
}

func (a *app) stateUnlock() *cli.Command {
	return &cli.Command{
		Name: "unlock", Usage: "take a run's lock away from whoever holds it", ArgsUsage: "RUN", OnUsageError: usage,
		Description: `For a tkgfix that hangs or was stopped, or a machine that is gone; the lock of one that has ended is free by itself. That the
lock was broken is written to the journal first, so the old holder can write nothing any more, and its plugins are ended if
they run here. An act that it has begun may still come to its end: tkgfix resume observes what became of it.

   tkgfix state unlock 01jd5x2v9k3q4m8r7t6w5y1z0a --reason "the jump host is gone"

EXIT STATUS: 0 broken, 1 not: nobody holds it, or it was not confirmed.`,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "force", Usage: "do not ask"},
			&cli.StringFlag{Name: "reason", Usage: "`WHY`, for the journal"},
		},
		Action: func(c *cli.Context) error {
			args, err := arguments(c, "RUN")
			if err != nil {
				return err
			}
			instead := func(at kubeState) string {
				return "the lock of a replica that is gone becomes free by itself; who holds it: " + at.kubectl("get lease tkgfix-%s -o yaml", args[0])
			}
			if err := onlyHere(c, instead); err != nil {
				return err
			}
			return a.unlock(c, args[0])
		},
	}
}

func (a *app) unlock(c *cli.Context, id string) error {
	e, err := a.engine(c)
	if err != nil {
		return err
	}
	if _, err := e.Load(c.Context, id); err != nil {
		return explain(c, err)
	}
	was, err := holderOf(c, e, id)
	if err != nil {
		return err
	}
	a.ui.Say("run %s is locked by %s%s", id, was, heldFor(was, a.now()))
	if !c.Bool("force") {
		yes, err := a.ui.Confirm(c.Context, "what it has begun may still come to its end; break its lock?", id)
		if err != nil {
			return err
		}
		if !yes {
			return plugins.Hint(errors.New("the lock was not broken: nobody confirmed it"), "%s", next(c, "state unlock %s --force", id))
		}
	}
	if was, err = e.Unlock(c.Context, id, c.String("reason")); err != nil {
		return explain(c, err)
	}
	a.ui.Say("the lock of run %s is broken; it was held by %s%s", id, was, heldFor(was, a.now()))
	a.ui.Say("then: %s", next(c, "resume %s", id))
	return nil
}

// holderOf returns who holds a run.
func holderOf(c *cli.Context, e *engine.Engine, id string) (state.Holder, error) {
	me := state.Holder{User: e.Me.Identity.Name, Host: e.Me.Host, PID: e.Me.PID, Since: e.Now()}
	release, err := e.Store.Lock(c.Context, id, me)
	if locked, ok := errors.AsType[*state.LockedError](err); ok {
		return locked.Holder, nil
	}
	if err != nil {
		return state.Holder{}, err
	}
	free := plugins.Hint(fmt.Errorf("run %s is not locked", id), "%s", next(c, "runs show %s", id))
	if err := release(); err != nil {
		return state.Holder{}, err
	}
	return state.Holder{}, free
}

// heldFor says for how long a lock has been held, with a comma before it; nothing if that is not known.
func heldFor(h state.Holder, now time.Time) string {
	if d := h.Held(now); d > 0 {
		return fmt.Sprintf(", for %s", d)
	}
	return ""
}

// lockHint returns what to do about a run that another holds.
func lockHint(locked *state.LockedError, now time.Time) string {
	return fmt.Sprintf("it has been held%s; wait until it ends, or end it there, then: tkgfix resume %s; if it hangs: tkgfix state unlock %s",
		strings.TrimPrefix(heldFor(locked.Holder, now), ","), locked.Run, locked.Run)
}
