package drivers

// InfraLinkGroup is the group of the links by which the host itself is an endpoint of an infra network (contivh1). What
// containers send out through the host never leaves by a link of this group: another tenant's networks are beyond.
const InfraLinkGroup = 0xc041
