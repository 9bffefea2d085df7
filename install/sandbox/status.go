package sandbox

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
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
	// Realised: connected to a netmaster and to the switch, and nothing of what it was sent is left to do.
	Realised bool
	// Revision of the store that is realised.
	Revision int64
	// Raw is the whole answer of GET /inspect/driver.
	Raw json.RawMessage
}

// Agent asks the agent of a host how far it is.
func (s *Sandbox) Agent(ctx context.Context, host int) (AgentStatus, error) {
	if err := s.checkHost(host); err != nil {
		return AgentStatus{}, err
	}
	inHost := &http.Client{Timeout: s.client.Timeout, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, addr string) (conn net.Conn, err error) {
			err = s.InsideHost(host, func() error {
				conn, err = new(net.Dialer).DialContext(ctx, network, addr)
				return err
			})
			return conn, err
		},
	}}
	var answer struct {
		Session struct {
			Connected bool `json:"connected"`
		} `json:"session"`
		Datapath struct {
			Desired, Realised struct {
				Store    string `json:"store"`
				Revision int64  `json:"revision"`
			}
			Connected bool `json:"connected"`
		} `json:"datapath"`
	}
	raw, err := getJSON(ctx, inHost, "http://127.0.0.1:9090/inspect/driver", &answer)
	if err != nil {
		return AgentStatus{}, err
	}
	desired, realised := answer.Datapath.Desired, answer.Datapath.Realised
	return AgentStatus{
		Realised: answer.Session.Connected && answer.Datapath.Connected && desired.Store != "" && desired == realised,
		Revision: realised.Revision, Raw: raw,
	}, nil
}

// getJSON reads a document and decodes it into answer, which may be nil.
func getJSON(ctx context.Context, client *http.Client, url string, answer any) (json.RawMessage, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, fmt.Errorf("asking %s: %w", url, err)
	}
	response, err := client.Do(request)
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
