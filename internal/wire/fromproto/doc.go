// Package fromproto translates messages into the types of package plugins. It is pure and trusts nothing: what is
// too much, no JSON or an unknown word is an error that names its place; no message makes it panic. The other direction is package
// toproto.
package fromproto
