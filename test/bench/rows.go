package main

import (
	"slices"

	"github.com/contiv/contiv/install/sandbox"
)

// rows of the table, in the order of the budgets.
func rows() []row {
	return slices.Concat(clusterRows(), scaleRows("100 tenants", scale(manyTenants)), scaleRows("one tenant", scale(oneTenant)))
}

func clusterRows() []row {
	return slices.Concat(trafficRows(), []row{
		{"P4", "install 10 000 flows", "ms", "ovs-ofctl --bundle", atMost(1.4), installFlows},
		{"P5", "CNI ADD + DEL, one at a time", "ms", "bridge + host-local", atMost(1), attach(1)},
		{"P5", "CNI ADD + DEL, 8 at once", "ms", "bridge + host-local", atMost(1), attach(8)},
	},
		rateRows(networkCreate), rateRows(groupCreate), rateRows(ruleCreate), rateRows(addressReserve),
		sizeRows(), failoverRows(),
		changeRows(),
		[]row{
			{"P9", "probes lost by all kill -9 of netplugin", "packets", "", atMost(0), lost(sandbox.Netplugin)},
			{"P9", "probes lost by all kill -9 of netmaster", "packets", "", atMost(0), lost(sandbox.Netmaster)},
			{"P10", "3-host sandbox ready", "s", "", nil, ready},
		})
}

// rateRows are the rows of P6 for a kind of request.
func rateRows(kind request) []row {
	one, eight := rates(kind, 1), rates(kind, 8)
	return []row{
		{"P6", kind.name + ", 1 client", "per s", "bare handler", atLeast(0.7), one.figure("rate")},
		{"P6", kind.name + ", 8 clients", "per s", "bare handler", atLeast(0.7), eight.figure("rate")},
		{"P6", kind.name + ", processor time, 1 client", "us", "bare handler", nil, one.figure("cpu")},
		{"P6", kind.name + ", processor time, 8 clients", "us", "bare handler", nil, eight.figure("cpu")},
	}
}

// scaleRows are the rows of P8 for one population.
func scaleRows(name string, e *experiment) []row {
	of := func(what, unit, figure string, limit *budget) row {
		return row{large, name + ": " + what, unit, "", limit, e.figure(figure)}
	}
	return []row{
		of("memory of netmaster for an endpoint", "bytes", "memory", atMost(4096)),
		of("cold start", "s", "cold", atMost(6)),
		of("cold start, processor time of netmaster", "s", "cold cpu", nil),
		of("memory of netmaster", "MB", "memory whole", nil),
		of("memory of netmaster, highest", "MB", "peak", nil),
		of("first start of all agents", "s", "first", nil),
		of("first start, sent to an agent", "MB", "first bytes", nil),
		of("endpoint change to the last acknowledgement", "ms", "ack", nil),
		of("endpoint change, sent to all agents", "kB", "bytes", nil),
	}
}

// trafficRows are those of P1, P2 and P3, and of what comes with many groups and rules or with services.
func trafficRows() []row {
	bare, many, grown := throughput(), crowd(), growth()
	return []row{
		{"P1", "TCP, same host", "Mbit/s", "one NORMAL flow", atLeast(0.95), bare.figure("same")},
		{"P1", "TCP, across hosts", "Mbit/s", "one NORMAL flow", atLeast(0.95), bare.figure("across")},
		{"P1", "processor time of 100 MB, same host", "ms", "one NORMAL flow", nil, bare.figure("same cost")},
		{"P1", "processor time of 100 MB, across hosts", "ms", "one NORMAL flow", nil, bare.figure("across cost")},
		{"P2", "TCP with 5 000 rules, same host", "Mbit/s", "0 rules", atLeast(0.97), many.figure("same")},
		{"P2", "TCP with 5 000 rules, across hosts", "Mbit/s", "0 rules", atLeast(0.97), many.figure("across")},
		{"P2", "processor time of 100 MB with 5 000 rules, same host", "ms", "0 rules", nil, many.figure("same cost")},
		{"P2", "processor time of 100 MB with 5 000 rules, across hosts", "ms", "0 rules", nil, many.figure("across cost")},
		{"P2", "connections with 5 000 rules, same host", "per s", "0 rules", atLeast(0.9), many.figure("connections")},
		{"P2", "connections with 5 000 rules, across hosts", "per s", "0 rules", atLeast(0.9), many.figure("connections across")},
		{"P5", "CNI ADD with 100 groups and 5 000 rules on the host", "ms", "none", nil, many.figure("attach")},
		{"P3", "flows of rules, six times the endpoints", "flows", "before", atMost(1), grown.figure("policy")},
		{"P3", "flows of networks and endpoints", "flows", "formula", atMost(1), grown.figure("formula")},
		{"V", "connections to a service", "per s", "to its provider", nil, services},
	}
}

// changeRows are those of P7.
func changeRows() []row {
	e := ruleChange()
	return []row{
		{"P7", "rule change to the last of 50 hosts, median", "ms", "", nil, e.figure("median")},
		{"P7", "rule change to the last of 50 hosts, 99 of 100", "ms", "", atMost(250), e.figure("p99")},
	}
}
