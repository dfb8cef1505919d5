package sshsig

import (
	"errors"
	"strconv"
	"strings"
	"time"
)

// parseTime reads YYYYMMDD, YYYYMMDDHHMM or YYYYMMDDHHMMSS, in loc or, with Z or UTC at its end, in UTC. As with ssh-keygen, a date
// that is not in the calendar is counted on (30 February is 1 or 2 March) and a local time is the zone's standard time, in
// summer too.
func parseTime(s string, loc *time.Location) (time.Time, error) {
	digits, utc := cutZone(s)
	if utc {
		loc = time.UTC
	}
	if n := len(digits); n != 8 && n != 12 && n != 14 || strings.Trim(digits, "0123456789") != "" {
		return time.Time{}, errors.New("want YYYYMMDD, YYYYMMDDHHMM or YYYYMMDDHHMMSS, with Z for UTC")
	}
	padded := digits + strings.Repeat("0", 14-len(digits))
	part := func(from, to int) int {
		n, _ := strconv.Atoi(padded[from:to]) // digits only: see above
		return n
	}
	year, month, day := part(0, 4), part(4, 6), part(6, 8)
	hour, minute, second := part(8, 10), part(10, 12), part(12, 14)
	if month < 1 || month > 12 || day < 1 || day > 31 || hour > 23 || minute > 59 || second > 61 {
		return time.Time{}, errors.New("no such date or time of day")
	}
	near := time.Date(year, time.Month(month), day, hour, minute, second, 0, loc)
	at := time.Date(year, time.Month(month), day, hour, minute, second, 0, standard(near))
	if at.Unix() <= 0 {
		return time.Time{}, errors.New("before 1970")
	}
	return at, nil
}

// cutZone removes the mark of UTC, in either case.
func cutZone(s string) (string, bool) {
	for _, mark := range []string{"Z", "UTC"} {
		if n := len(s) - len(mark); n > 0 && strings.EqualFold(s[n:], mark) {
			return s[:n], true
		}
	}
	return s, false
}

// standard returns the zone that at has or, in summer time, the one that follows it or went before it.
func standard(at time.Time) *time.Location {
	from, to := at.ZoneBounds()
	for _, near := range []time.Time{at, to, from.Add(-time.Second)} {
		if !near.IsZero() && !near.IsDST() {
			name, offset := near.Zone()
			return time.FixedZone(name, offset)
		}
	}
	return at.Location()
}
