// Package toproto translates the types of package plugins into messages. It is pure. Each function is named like the type that it
// takes; a value that the protocol has no word for is an error. The other direction is package fromproto.
package toproto
