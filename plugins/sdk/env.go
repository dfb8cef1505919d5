package sdk

import "time"

// Env holds what a step may not make itself. Its zero value is ready for use once Complete has filled it.
type Env struct {
	// Now is the clock.
	Now func() time.Time
}

// Complete returns env with the real thing in each field that is nil. A step's New calls it.
func (e Env) Complete() Env {
	if e.Now == nil {
		e.Now = time.Now
	}
	return e
}
