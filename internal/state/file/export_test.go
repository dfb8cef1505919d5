package file

import "os"

// OnSync has a store call f instead of fsync.
func (s *Store) OnSync(f func(*os.File) error) { s.sync = f }
