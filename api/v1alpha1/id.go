package v1alpha1

import "strings"

// uidLength is how much of a UID a run's id bears: enough to tell a Run from an earlier one of the same name.
const uidLength = 8

// RunID returns what the run is called in its journal, in approvals and on the command line: the Run's name and the beginning of its
// UID. It is empty for a Run that the API server has not created yet.
func RunID(r *Run) string {
	uid := strings.ReplaceAll(string(r.UID), "-", "")
	if len(uid) < uidLength {
		return ""
	}
	return r.Name + "-" + uid[:uidLength]
}

// RunName returns the name of the Run whose run has this id; empty if it is no run's id.
func RunName(id string) string {
	name := len(id) - uidLength - 1
	if name < 1 || id[name] != '-' {
		return ""
	}
	return id[:name]
}
