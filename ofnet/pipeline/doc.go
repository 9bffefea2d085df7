// Package pipeline turns the desired state of one host into the flows and groups of its bridge.
//
// It is pure: no I/O, no clock, no goroutine, no logger. State is plain data made of protocol records; Compile makes the
// whole Program of a State, and a Compiler makes the difference that a change of the state means, at a cost that is
// proportional to the change. Both always agree.
//
// What is written here is the VXLAN layer-2 pipeline (global forward mode "bridge"). The tables and registers of the
// other stages and modes are declared already, so that later stages only widen it; docs/pipeline.md is made from these
// declarations.
//
// The pipeline fails closed. A record that cannot be realised installs nothing and is named in NotRealised; a port
// without an endpoint, a source that is not what the records say and a tunnel packet that does not come from its
// sender's host are dropped.
package pipeline
