// Package docker makes Contiv's networks and groups usable with Docker: a network driver and an IPAM driver, served to
// the engine on unix sockets, and a reconciler that creates and removes the docker networks of this host's engine as
// networks and groups come and go.
//
// # Names
//
// A network N of tenant T is the docker network "N", or "N/T" unless T is "default"; a group likewise. They carry the
// label io.contiv.managed=true; only networks with it are ever removed or replaced. A network that a docker user made
// (docker network create -d contiv) belongs to that user and to that engine: it is not mirrored to other hosts, where
// `docker network create -d contiv --ipam-driver contiv --ipam-opt network=N --ipam-opt tenant=T NAME` reaches it.
// Groups on it are mirrored like all groups.
//
// # What must be remembered, and where
//
// Nothing is kept in files. Which object a docker network stands for is written in its own options, which the engine
// keeps; what is plugged in, and for which docker network, is in the notes of the attachment, which the switch keeps.
// Reservations of addresses between IpamDriver.RequestAddress and NetworkDriver.CreateEndpoint live in memory:
// netmaster ends those that no endpoint took.
//
// # Locks
//
// The engine calls a driver while it holds locks of its own. No handler calls the engine; a handler that needs to know
// a docker network waits, with a deadline, for the reconciler, which lists networks on its own goroutine and takes no
// lock over I/O. Lock order: none of the mutexes of this package is held while another is taken.
package docker
