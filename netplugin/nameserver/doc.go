// Package nameserver answers DNS queries of the containers of one host: names of containers, groups and services of
// their tenant from what netmaster tells the host, everything else from the resolvers of the host.
//
// Tables and what they answer are pure (tables.go, resolve.go, packet.go). Server is the edge: it takes packets from the
// datapath, asks resolvers and serves connections, within limits for each endpoint. docs/names.md tells its users.
package nameserver
