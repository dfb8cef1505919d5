// Package sshsig reads and makes SSH signatures (PROTOCOL.sshsig) and judges them by an allowed-signers file (ssh-keygen(1),
// ALLOWED SIGNERS). An approval of a gate is such a signature over a Statement, in Namespace: what Sign makes,
// ssh-keygen -Y verify accepts, and what ssh-keygen -Y sign makes, AllowedSigners.Verify accepts.
//
// The wire format and the cryptography are those of github.com/hiddeco/sshsig and golang.org/x/crypto/ssh. The armor and the
// allowed-signers file are read here: the library takes any PEM file with a block somewhere in it, and knows no such file.
//
// Verify follows ssh-keygen's sshsig.c, and is stricter in these points, each of which refuses what ssh-keygen would accept:
//
//   - RSA keys below 2048 bits, DSA keys, and certificates that an authority signed with SHA-1 are refused.
//   - A signature by a security key must say that the key was touched.
//   - A certificate with critical options is refused: they limit what its holder may do, and none speaks of approvals.
//   - A line of the file must list a key, not a certificate; its principals must be text that can be seen; its dates must be digits,
//     from 1970 on.
//   - After a signature nothing but white space may follow.
package sshsig
