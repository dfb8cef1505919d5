package fromproto

import (
	"errors"
	"fmt"

	"github.com/tkgfix/tkgfix/internal/wire/proto"
	"github.com/tkgfix/tkgfix/plugins"
)

// Effect translates what a step does to the world.
func Effect(m proto.Effect) (plugins.Effect, error) {
	switch m {
	case proto.Effect_EFFECT_READ:
		return plugins.Read, nil
	case proto.Effect_EFFECT_CHANGE:
		return plugins.Change, nil
	case proto.Effect_EFFECT_DESTROY:
		return plugins.Destroy, nil
	case proto.Effect_EFFECT_ANNOUNCE:
		return plugins.Announce, nil
	case proto.Effect_EFFECT_DECLARED:
		return plugins.Declared, nil
	default:
		return "", unknown(m)
	}
}

// RequestEffect translates the effect that a request is made under, which the workflow has declared by then. None becomes empty.
func RequestEffect(m proto.Effect) (plugins.Effect, error) {
	switch m {
	case proto.Effect_EFFECT_UNSPECIFIED:
		return "", nil
	case proto.Effect_EFFECT_DECLARED:
		return "", errors.New("the workflow's step does not declare its own")
	default:
		return Effect(m)
	}
}

// Action translates what a change does.
func Action(m proto.Action) (plugins.Action, error) {
	switch m {
	case proto.Action_ACTION_CREATE:
		return plugins.Create, nil
	case proto.Action_ACTION_UPDATE:
		return plugins.Update, nil
	case proto.Action_ACTION_REPLACE:
		return plugins.Replace, nil
	case proto.Action_ACTION_DELETE:
		return plugins.Delete, nil
	default:
		return "", unknown(m)
	}
}

// Verdict translates the judgement of a piece of evidence.
func Verdict(m proto.Verdict) (plugins.Verdict, error) {
	switch m {
	case proto.Verdict_VERDICT_OK:
		return plugins.OK, nil
	case proto.Verdict_VERDICT_BAD:
		return plugins.Bad, nil
	case proto.Verdict_VERDICT_INFO:
		return plugins.Info, nil
	default:
		return "", unknown(m)
	}
}

// EffectState translates what the journal holds of an effect.
func EffectState(m proto.EffectState) (plugins.EffectState, error) {
	switch m {
	case proto.EffectState_EFFECT_STATE_NONE:
		return plugins.EffectNone, nil
	case proto.EffectState_EFFECT_STATE_INTENDED:
		return plugins.EffectIntended, nil
	case proto.EffectState_EFFECT_STATE_DONE:
		return plugins.EffectDone, nil
	default:
		return "", unknown(m)
	}
}

func unknown(word fmt.Stringer) error {
	return fmt.Errorf("unknown value %s: tkgfix and the plugin may be of different versions", word)
}
