package agent

import "github.com/contiv/contiv/ofnet/protocol"

// Services are those that the host knows, by key. They are shared: do not change them.
func (a *Agent) Services() map[string]*protocol.Service {
	out := map[string]*protocol.Service{}
	for key, body := range a.session.Bodies(protocol.KindService) {
		if s, ok := body.(*protocol.Service); ok {
			out[key] = s
		}
	}
	return out
}
