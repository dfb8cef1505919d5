package ui

import (
	"context"
	"fmt"
)

// Confirm asks a person to type a word before something is done that others may feel. It returns false for any other answer,
// and without a terminal. It blocks until a line is typed or ctx ends.
func (u *UI) Confirm(ctx context.Context, question, word string) (bool, error) {
	if !u.Interactive {
		return false, nil
	}
	u.Say("%s", question)
	fmt.Fprintf(u.Err, "tkgfix: type %q to confirm: ", clean(word))
	answer, err := u.readLine(ctx)
	return answer == word, err
}
