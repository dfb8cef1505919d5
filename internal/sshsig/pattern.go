package sshsig

import "strings"

// maxPattern is the length at which OpenSSH gives up on a pattern (match.c, match_pattern_list).
const maxPattern = 1023

// matchList says whether a comma-separated list of patterns takes s, as match_pattern_list does: at least one pattern does and
// none that begins with ! does.
func matchList(s, list string) bool {
	found := false
	for list != "" {
		var sub string
		sub, list, _ = strings.Cut(list, ",")
		sub, negated := strings.CutPrefix(sub, "!")
		if len(sub) >= maxPattern {
			return false
		}
		if !matchPattern(s, sub) {
			continue
		}
		if negated {
			return false
		}
		found = true
	}
	return found
}

// matchPattern says whether a pattern with * and ? matches the whole of s, byte by byte. It takes at most len(s)*len(pattern) steps.
func matchPattern(s, pattern string) bool {
	i, p := 0, 0
	star, again := -1, 0 // the last *, and where in s to go on if what follows it does not match
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, again = p, i
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == s[i]):
			i++
			p++
		case star >= 0:
			again++
			i, p = again, star+1
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}

// literals returns the names in a list of patterns that are no patterns, and that the list as a whole takes.
func literals(list string) []string {
	var out []string
	for name := range strings.SplitSeq(list, ",") {
		if name == "" || name[0] == '!' || strings.ContainsAny(name, "*?") || !matchList(name, list) {
			continue
		}
		out = append(out, name)
	}
	return out
}
