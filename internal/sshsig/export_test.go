package sshsig

import "time"

// ParseTime lets the tests choose the zone that ssh-keygen takes from TZ.
func ParseTime(s string, loc *time.Location) (time.Time, error) { return parseTime(s, loc) }

// MatchList lets the tests compare patterns with ssh-keygen's.
func MatchList(s, list string) bool { return matchList(s, list) }
