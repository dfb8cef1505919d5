package toproto

import (
	"errors"
	"fmt"

	"github.com/tkgfix/tkgfix/internal/wire/proto"
	"github.com/tkgfix/tkgfix/plugins"
)

// Effect translates what a step does to the world.
func Effect(e plugins.Effect) (proto.Effect, error) {
	switch e {
	case plugins.Read:
		return proto.Effect_EFFECT_READ, nil
	case plugins.Change:
		return proto.Effect_EFFECT_CHANGE, nil
	case plugins.Destroy:
		return proto.Effect_EFFECT_DESTROY, nil
	case plugins.Announce:
		return proto.Effect_EFFECT_ANNOUNCE, nil
	case plugins.Declared:
		return proto.Effect_EFFECT_DECLARED, nil
	default:
		return 0, fmt.Errorf("unknown effect %q", e)
	}
}

// RequestEffect translates the effect that a request is made under, which the workflow has declared by then. Empty is none.
func RequestEffect(e plugins.Effect) (proto.Effect, error) {
	switch e {
	case "":
		return proto.Effect_EFFECT_UNSPECIFIED, nil
	case plugins.Declared:
		return 0, errors.New("effect: the workflow's step does not declare its own")
	default:
		return Effect(e)
	}
}

// Action translates what a change does.
func Action(a plugins.Action) (proto.Action, error) {
	switch a {
	case plugins.Create:
		return proto.Action_ACTION_CREATE, nil
	case plugins.Update:
		return proto.Action_ACTION_UPDATE, nil
	case plugins.Replace:
		return proto.Action_ACTION_REPLACE, nil
	case plugins.Delete:
		return proto.Action_ACTION_DELETE, nil
	default:
		return 0, fmt.Errorf("unknown action %q", a)
	}
}

// Verdict translates the judgement of a piece of evidence.
func Verdict(v plugins.Verdict) (proto.Verdict, error) {
	switch v {
	case plugins.OK:
		return proto.Verdict_VERDICT_OK, nil
	case plugins.Bad:
		return proto.Verdict_VERDICT_BAD, nil
	case plugins.Info:
		return proto.Verdict_VERDICT_INFO, nil
	default:
		return 0, fmt.Errorf("unknown verdict %q", v)
	}
}

// EffectState translates what the journal holds of an effect.
func EffectState(s plugins.EffectState) (proto.EffectState, error) {
	switch s {
	case plugins.EffectNone:
		return proto.EffectState_EFFECT_STATE_NONE, nil
	case plugins.EffectIntended:
		return proto.EffectState_EFFECT_STATE_INTENDED, nil
	case plugins.EffectDone:
		return proto.EffectState_EFFECT_STATE_DONE, nil
	default:
		return 0, fmt.Errorf("unknown state of effect %q", s)
	}
}
