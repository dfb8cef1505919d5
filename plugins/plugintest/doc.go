// Package plugintest is what the tests of a step are made of: Conformance, the suite that every step must pass; Host, a journal in memory
// that can fail at any call; Connect, the step at the other end of a real connection.
package plugintest
