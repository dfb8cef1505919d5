package workflow

import (
	"fmt"
	"strings"

	"github.com/xrash/smetrics"
)

const maxListed = 30 // names that a message lists

// nearest returns the name that was probably meant, empty if none is near.
func nearest(word string, names []string) string {
	if len(word) > 64 {
		return ""
	}
	best, bestDistance := "", 1+max(1, len(word)/3)
	for _, name := range names {
		if d := smetrics.WagnerFischer(strings.ToLower(word), strings.ToLower(name), 1, 1, 1); d < bestDistance && d < len(word) {
			best, bestDistance = name, d
		}
	}
	return best
}

// expected says which names would be right: `; did you mean "a"? fields: a, b`.
func expected(word, what string, names []string) string {
	if len(names) == 0 {
		return "; there are none here"
	}
	list := names
	more := ""
	if len(list) > maxListed {
		list, more = list[:maxListed], fmt.Sprintf(" and %d more", len(names)-maxListed)
	}
	text := fmt.Sprintf("%s: %s%s", what, strings.Join(list, ", "), more)
	if guess := nearest(word, names); guess != "" {
		return fmt.Sprintf("; did you mean %q? %s", guess, text)
	}
	return "; " + text
}
