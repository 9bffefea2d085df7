package client

// Policies are the policies of all tenants; the path is "policys".
func (c *Client) Policies() Collection[Policy, PolicyOper] {
	return Collection[Policy, PolicyOper]{c, "policys", (*Policy).Key}
}

// Rules are the rules of all policies. Keys are "tenant:policy:rule".
func (c *Client) Rules() Collection[Rule, *RuleOper] {
	return Collection[Rule, *RuleOper]{c, "rules", (*Rule).Key}
}

// Netprofiles are the network profiles of all tenants.
func (c *Client) Netprofiles() Collection[Netprofile, *NetprofileOper] {
	return Collection[Netprofile, *NetprofileOper]{c, "netprofiles", (*Netprofile).Key}
}

// ServiceLBs are the services of all tenants.
func (c *Client) ServiceLBs() Collection[ServiceLB, ServiceLBOper] {
	return Collection[ServiceLB, ServiceLBOper]{c, "serviceLBs", (*ServiceLB).Key}
}

// Bgps are the BGP speakers. Keys are names of hosts.
func (c *Client) Bgps() Collection[Bgp, BgpOper] {
	return Collection[Bgp, BgpOper]{c, "Bgps", (*Bgp).Key}
}

// AciGws holds the settings for ACI, under the key "aciGw".
func (c *Client) AciGws() Collection[AciGw, AciGwOper] {
	return Collection[AciGw, AciGwOper]{c, "aciGws", (*AciGw).Key}
}

// AppProfiles are the application profiles of all tenants.
func (c *Client) AppProfiles() Collection[AppProfile, NoOper] {
	return Collection[AppProfile, NoOper]{c, "appProfiles", (*AppProfile).Key}
}

// ExtContractsGroups are the groups of external contracts of all tenants.
func (c *Client) ExtContractsGroups() Collection[ExtContractsGroup, NoOper] {
	return Collection[ExtContractsGroup, NoOper]{c, "extContractsGroups", (*ExtContractsGroup).Key}
}
