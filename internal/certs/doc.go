// Package certs judges certificates: which of a file's bytes Go takes as certificates, whether a chain is trusted by Go's
// rules, and if not, why and which certificate is missing.
//
// containerd is a Go program, so Go's verdict is the only one that counts; openssl's differs in both directions
// (diagnosis.md §0). The package is pure: no file, no network, no clock. The steps hand it what they collected.
package certs
