package ui

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/term"
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

// Passphrase asks a person for the passphrase of a key, without showing it. It blocks until a line is typed. Without a terminal it is
// an error.
func (u *UI) Passphrase(key string) ([]byte, error) {
	f, ok := u.In.(*os.File)
	if !u.Interactive || !ok {
		return nil, errors.New("there is no terminal to ask for the passphrase at")
	}
	fmt.Fprintf(u.Err, "tkgfix: passphrase of %s: ", clean(key))
	out, err := term.ReadPassword(int(f.Fd()))
	fmt.Fprintln(u.Err)
	if err != nil {
		return nil, fmt.Errorf("read the passphrase: %w", err)
	}
	return out, nil
}
