package kube

// Small has a store split what is over a kilobyte, take 128 of them at once, and 256 in all.
func (s *Store) Small() *Store {
	s.limits = limits{piece: 1 << 10, lines: 128 << 10, journal: 256 << 10}
	return s
}
