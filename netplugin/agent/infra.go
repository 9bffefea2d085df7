package agent

import "github.com/contiv/contiv/ofnet/protocol"

// HostView is what the host's own place in the fabric follows from.
type HostView struct {
	// Known: netmaster has said what there is.
	Known bool
	// Routing: forward mode routing.
	Routing bool
	// Networks that the host knows, sorted by key: those of type infra, and what else it needs.
	Networks []protocol.Network
}

// HostView answers without waiting. The channel is closed when the view may be another.
func (a *Agent) HostView() (HostView, <-chan struct{}) {
	catalog, changed := a.Catalog()
	view := HostView{Known: catalog.Complete, Networks: catalog.Networks}
	for _, global := range bodies[*protocol.Global](a, protocol.KindGlobal) {
		view.Routing = global.ForwardMode == protocol.ForwardRouting
	}
	return view, changed
}
