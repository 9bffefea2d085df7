package sandbox

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
)

// Status is a cluster at a glance.
type Status struct {
	Name         string           `json:"name"`
	NetmasterURL string           `json:"netmaster"`
	Dir          string           `json:"dir"`
	Hosts        []HostStatus     `json:"hosts"`
	Workloads    []WorkloadStatus `json:"workloads"`
}

// HostStatus is one host of a Status.
type HostStatus struct {
	Name       string         `json:"name"`
	Management string         `json:"management"`
	VTEP       string         `json:"vtep"`
	NetNS      string         `json:"netns"`
	PIDs       map[string]int `json:"pids"` // component -> pid; 0: not running
}

// Status tells what runs where.
func (s *Sandbox) Status() (Status, error) {
	rec, err := s.view()
	if err != nil {
		return Status{}, err
	}
	status := Status{Name: s.name, NetmasterURL: s.URL(), Dir: s.dir()}
	for host := 1; host <= rec.Config.Hosts; host++ {
		entry := HostStatus{Name: s.hostName(host), Management: s.managementAddr(host).Addr().String(),
			VTEP: s.vtepAddr(host).Addr().String(), NetNS: s.NetNS(host), PIDs: map[string]int{}}
		for _, component := range Components {
			if s.check(component, host) == nil {
				entry.PIDs[string(component)] = s.PID(component, host)
			}
		}
		status.Hosts = append(status.Hosts, entry)
	}
	status.Workloads, err = s.List()
	return status, err
}

// AgentStatus is what an agent says of itself on its inspect address.
type AgentStatus struct {
	Realised bool // connected to a netmaster and to the switch, and nothing left to do
	Raw      json.RawMessage
}

// Agent asks the agent of a host how far it is.
func (s *Sandbox) Agent(ctx context.Context, host int) (AgentStatus, error) {
	return AgentStatus{}, fmt.Errorf("asking the agent of host %d: %w", host, &NotYetError{"agent status"})
}

// getJSON reads a document and decodes it into answer, which may be nil.
func (s *Sandbox) getJSON(ctx context.Context, url string, answer any) (json.RawMessage, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, fmt.Errorf("asking %s: %w", url, err)
	}
	response, err := s.client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("asking %s: %w", url, err)
	}
	defer response.Body.Close() //nolint:errcheck // only read
	body, err := io.ReadAll(io.LimitReader(response.Body, 16<<20))
	if err != nil {
		return nil, fmt.Errorf("reading the answer of %s: %w", url, err)
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered %s: %s", url, response.Status, body)
	}
	if answer != nil {
		if err := json.Unmarshal(body, answer); err != nil {
			return nil, fmt.Errorf("decoding the answer of %s: %w", url, err)
		}
	}
	return body, nil
}
