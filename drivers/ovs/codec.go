package ovs

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/contiv/contiv/drivers"
	"github.com/contiv/contiv/ofnet/protocol"
)

// Keys of external ids.
const (
	keyEndpointID = "endpoint-id" // of an interface: the name that the original gave it, which exporters look for
	keyAttachment = "contiv-attachment"
	keyRound      = "contiv-round"     // of the bridge
	keySchema     = "contiv-schema"    // of the bridge: how the keys below it are written
	keyLastNumber = "contiv-last-port" // of the bridge: the newest OpenFlow number given to an endpoint
	keyRemoved    = "contiv-removed/"  // of the bridge, followed by the endpoint's id: removed, netmaster may not know
	schemaVersion = "1"
)

// Starts of link names; the rest tells the endpoint.
const (
	hostLinkPrefix      = "vvport"
	containerLinkPrefix = "vport"
	linkHashLength      = 9 // 45 bits; the name of a link has at most 15 bytes
)

var linkHash = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// linkNames are the names of the two ends for an endpoint. Another try gives other names, for when those of the
// first are taken.
func linkNames(id protocol.EndpointID, try int) (host, container string) {
	text := id.String()
	if try > 0 {
		text += "/" + strconv.Itoa(try)
	}
	sum := sha256.Sum256([]byte(text))
	hash := linkHash.EncodeToString(sum[:])[:linkHashLength]
	return hostLinkPrefix + hash, containerLinkPrefix + hash
}

// attachmentNote is the stored form of an attachment.
type attachmentNote struct {
	ID            protocol.EndpointID `json:"id"`
	Tenant        string              `json:"tenant"`
	Network       string              `json:"network"`
	Groups        []string            `json:"groups,omitempty"`
	Encap         string              `json:"encap"`
	MAC           string              `json:"mac"`
	IPv4          netip.Prefix        `json:"ipv4,omitzero"`
	IPv6          netip.Prefix        `json:"ipv6,omitzero"`
	Gateway       netip.Addr          `json:"gateway,omitzero"`
	Gateway6      netip.Addr          `json:"gateway6,omitzero"`
	MTU           int                 `json:"mtu"`
	NetNS         string              `json:"netns,omitempty"`
	Owner         string              `json:"owner,omitempty"`
	Notes         map[string]string   `json:"notes,omitempty"`
	ContainerLink string              `json:"containerLink"`
}

// encodeAttachment makes the external ids of an endpoint's interface.
func encodeAttachment(att *drivers.Attachment) (map[string]string, error) {
	data, err := json.Marshal(attachmentNote{
		ID: att.ID, Tenant: att.Tenant, Network: att.Network, Groups: att.Groups, Encap: att.Encap, MAC: att.MAC, IPv4: att.IPv4,
		IPv6: att.IPv6, Gateway: att.Gateway, Gateway6: att.Gateway6, MTU: att.MTU, NetNS: att.NetNS, Owner: att.Owner,
		Notes: att.Notes, ContainerLink: att.ContainerLink,
	})
	if err != nil {
		return nil, fmt.Errorf("encoding the attachment of endpoint %s: %w", att.ID, err)
	}
	return map[string]string{keyEndpointID: att.ID.String(), keyAttachment: string(data)}, nil
}

// decodeAttachment reads what encodeAttachment made for the interface called hostLink. ours is false for the ports of others.
func decodeAttachment(hostLink string, ids map[string]string) (att drivers.Attachment, ours bool, err error) {
	text, ours := ids[keyAttachment]
	if !ours {
		return drivers.Attachment{}, false, nil
	}
	var n attachmentNote
	if err := json.Unmarshal([]byte(text), &n); err != nil {
		return drivers.Attachment{}, true, fmt.Errorf("external id %s of interface %s: %w", keyAttachment, hostLink, err)
	}
	if n.ID.ContainerID == "" {
		return drivers.Attachment{}, true, fmt.Errorf("external id %s of interface %s names no endpoint", keyAttachment, hostLink)
	}
	return drivers.Attachment{
		Port: drivers.Port{
			ID: n.ID, Tenant: n.Tenant, Network: n.Network, Groups: n.Groups, Encap: n.Encap, MAC: n.MAC, IPv4: n.IPv4, IPv6: n.IPv6,
			Gateway: n.Gateway, Gateway6: n.Gateway6, MTU: n.MTU, NetNS: n.NetNS, Owner: n.Owner, Notes: n.Notes,
		},
		HostLink: hostLink, ContainerLink: n.ContainerLink,
	}, true, nil
}

// removedKey is the note that remembers a removed endpoint.
func removedKey(id protocol.EndpointID) string { return keyRemoved + id.String() }

// parseRemovedKey reads removedKey; ok is false for other notes.
func parseRemovedKey(key string) (id protocol.EndpointID, ok bool) {
	text, ok := strings.CutPrefix(key, keyRemoved)
	if !ok {
		return id, false
	}
	parts := strings.Split(text, "/")
	if len(parts) != 3 {
		return id, false
	}
	return protocol.EndpointID{Host: parts[0], ContainerID: parts[1], IfName: parts[2]}, true
}
