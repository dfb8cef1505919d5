package bundle

// VerifyTar and Contents are open to fuzzing, which does not get through a gzip's checksum.
func VerifyTar(raw []byte, version string) (*Manifest, error) { return verifyTar(raw, version) }
