package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/sethvargo/go-retry"
	"github.com/urfave/cli/v2"

	"github.com/tkgfix/tkgfix/internal/approval"
	"github.com/tkgfix/tkgfix/internal/engine"
	"github.com/tkgfix/tkgfix/internal/sshsig"
	"github.com/tkgfix/tkgfix/internal/state"
	"github.com/tkgfix/tkgfix/plugins"
)

func (a *app) approve() *cli.Command {
	return a.decision("approve", true, `The digest says which changes are approved: exactly those that the gate shows, and no others. Where the gate takes
signed approvals only, sign with --key, or with ssh-keygen and --signature.

   tkgfix approve 01jd5x2v9k3q4m8r7t6w5y1z0a trust --digest sha256:6f1e…
   tkgfix approve 01jd5x2v9k3q4m8r7t6w5y1z0a trust --digest sha256:6f1e… --key ~/.ssh/id_ed25519

   tkgfix approve 01jd5x2v9k3q4m8r7t6w5y1z0a trust --digest sha256:6f1e… --print-statement > statement
   ssh-keygen -Y sign -n approval@tkgfix.dev -f ~/.ssh/id_ed25519 statement
   tkgfix approve 01jd5x2v9k3q4m8r7t6w5y1z0a trust --digest sha256:6f1e… --signature statement.sig

A run that a controller carries out, --state kube:NAMESPACE, is approved by an Approval in its cluster: in the name by which the
API server knows you, or signed in the name that the namespace's allowed signers give to the key. With --manifest it is printed,
to be committed where a GitOps controller applies it.

   tkgfix approve --state kube:team-a trust-3f2a91bc recreate --digest sha256:6f1e…
   tkgfix approve --state kube:team-a trust-3f2a91bc recreate --digest sha256:6f1e… --key ~/.ssh/id_ed25519 --manifest > approval.yaml

EXIT STATUS: 0 approved, or handed to the controller; 1 refused; 5 locked by another.`)
}

func (a *app) reject() *cli.Command {
	return a.decision("reject", false, `A rejected run is over: nothing more is changed by it.

   tkgfix reject 01jd5x2v9k3q4m8r7t6w5y1z0a recreate --digest sha256:6f1e… --reason "not before the release"
   tkgfix reject --state kube:team-a trust-3f2a91bc recreate --digest sha256:6f1e…

EXIT STATUS: 0 rejected, or handed to the controller; 1 refused; 5 locked by another.`)
}

func (a *app) decision(verb string, approved bool, description string) *cli.Command {
	return &cli.Command{
		Name: verb, Usage: verb + " the changes that a gate shows", ArgsUsage: "RUN GATE", Description: description, OnUsageError: usage,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "digest", Usage: "the whole `DIGEST` that the gate shows"},
			&cli.StringFlag{Name: "reason", Usage: "`WHY`, for the journal"},
			&cli.StringFlag{Name: "key", Usage: "sign with this SSH key: a private key's `FILE`, or a public one's whose key the agent holds"},
			&cli.StringFlag{Name: "signature", Usage: "`FILE` with the statement's SSH signature"},
			&cli.BoolFlag{Name: "print-statement", Usage: "print what is to be signed, and decide nothing"},
			&cli.StringFlag{Name: "approver", Usage: "in a cluster: decide as `NAME`, in place of asking for it"},
			&cli.BoolFlag{Name: "manifest", Usage: "in a cluster: print the Approval as YAML, and decide nothing"},
		},
		Action: func(c *cli.Context) error {
			args, err := arguments(c, "RUN", "GATE")
			if err != nil {
				return err
			}
			if c.String("digest") == "" {
				return plugins.Hint(errors.New("a decision names what it is about: --digest is missing"), "%s", next(c, "runs show %s", args[0]))
			}
			d := approval.Decision{Gate: args[1], Digest: c.String("digest"), Approved: approved, Reason: c.String("reason"), At: a.now()}
			at, ok, err := inCluster(c)
			switch {
			case err != nil:
				return err
			case c.Bool("print-statement"):
				return a.printStatement(args[0], d)
			case ok:
				return a.decideInCluster(c, at, args[0], d)
			case c.IsSet("approver") || c.IsSet("manifest"):
				return plugins.Hint(errors.New("--approver and --manifest are for runs in a cluster"),
					"tkgfix %s --state kube:NAMESPACE RUN GATE --digest DIGEST", verb)
			}
			return a.decideHere(c, args[0], d)
		},
	}
}

// decideHere decides on a run in the state folder.
func (a *app) decideHere(c *cli.Context, run string, d approval.Decision) error {
	e, err := a.engine(c)
	if err != nil {
		return err
	}
	d.By = e.Me.Identity
	if d.Signature, err = a.signature(c, run, d); err != nil {
		return err
	}
	return a.decide(c, e, run, d)
}

// decide hands a decision to the run and says what it came to.
func (a *app) decide(c *cli.Context, e *engine.Engine, id string, d approval.Decision) error {
	var r *engine.Run
	err := patiently(c.Context, func(ctx context.Context) (err error) {
		r, err = e.Decide(ctx, id, d)
		return err
	})
	if err != nil {
		return explain(c, err)
	}
	if !d.Approved {
		a.ui.Say("run %s: gate %s is rejected, the run is over", r.ID, d.Gate)
		return nil
	}
	g, _ := r.Plan.Gate(d.Gate)
	if out := r.Outcome(*g, a.now()); out.Verdict == approval.Pending {
		a.ui.Say("run %s: gate %s has %d of %d approvals", r.ID, d.Gate, len(out.By), len(out.By)+out.Missing)
		a.ui.Say("another approver: %s", next(c, "approve %s %s --digest %s", r.ID, d.Gate, d.Digest))
		return nil
	}
	a.ui.Say("run %s: gate %s is approved", r.ID, d.Gate)
	a.ui.Say("then: %s", next(c, "resume %s", r.ID))
	return nil
}

// patiently tries again for a few seconds while another holds the run: one that only looks whether it may go on lets it go.
func patiently(ctx context.Context, f func(context.Context) error) error {
	backoff := retry.WithMaxDuration(lockPatience, retry.NewConstant(lockPoll))
	return retry.Do(ctx, backoff, func(ctx context.Context) error {
		err := f(ctx)
		if _, locked := errors.AsType[*state.LockedError](err); locked {
			return retry.RetryableError(err)
		}
		return err
	})
}

// The patience with a run that another holds.
const (
	lockPatience = 5 * time.Second
	lockPoll     = 100 * time.Millisecond
)

func (a *app) printStatement(run string, d approval.Decision) error {
	text, err := sshsig.Of(run, d).Message()
	if err != nil {
		return fmt.Errorf("write the statement: %w", err)
	}
	_, err = a.ui.Out.Write(text)
	return err
}

// signature returns the signature of a decision as the flags ask for it; empty without one.
func (a *app) signature(c *cli.Context, run string, d approval.Decision) (string, error) {
	switch key, file := c.String("key"), c.String("signature"); {
	case key != "" && file != "":
		return "", plugins.Hint(errors.New("--key and --signature: give one of them"), "%s --help", c.Command.HelpName)
	case file != "":
		data, err := readFile(file)
		if err != nil {
			return "", fmt.Errorf("read the signature: %w", err)
		}
		return string(data), nil
	case key != "":
		text, err := sshsig.Of(run, d).Message()
		if err != nil {
			return "", fmt.Errorf("write the statement: %w", err)
		}
		source := sshsig.KeySource{File: key, AgentSocket: os.Getenv("SSH_AUTH_SOCK")}
		if a.ui.Interactive {
			source.Passphrase = func() ([]byte, error) { return a.ui.Passphrase(key) }
		}
		armored, err := sshsig.Sign(c.Context, source, text)
		return string(armored), err
	}
	return "", nil
}

// signer judges the signature of a decision by a file of allowed signers.
func signer(signers, run string, d approval.Decision) (approval.Identity, error) {
	data, err := readFile(signers)
	if err != nil {
		return approval.Identity{}, fmt.Errorf("read the allowed signers: %w", err)
	}
	allowed, err := sshsig.ParseAllowedSigners(signers, data)
	if err != nil {
		return approval.Identity{}, err
	}
	return allowed.Identify(run, d)
}
