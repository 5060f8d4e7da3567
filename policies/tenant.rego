# Tenant isolation: nobody acts for a tenant but their own, whichever way the request names one.
#
# A request may name its tenant in the header x-tenant (the policy must declare it: headers: [x-tenant]) or in the
# path parameter "tenant". Naming none is fine: the endpoint then takes the principal's. Naming two different ones,
# or one header twice, is refused.
package portcullis.tenant

named contains tenant if some tenant in input.request.headers["x-tenant"]

named contains input.route.params.tenant

# The principal's own tenant, and those that share with it.
reachable contains input.principal.tenant if input.principal.tenant != null

reachable contains tenant if {
	some tenant, entry in data.portcullis.tenants
	input.principal.tenant in entry.shares_with
	input.request.method in {"GET", "HEAD"}
}

default allow := false

# A workload acts for the tenant that the request names.
allow if {
	input.principal.kind == "workload"
	count(named) == 1
}

allow if {
	input.principal.kind == "user"
	input.principal.tenant != null
	count(named) <= 1
	every tenant in named {
		tenant in reachable
	}
}

reasons contains "the principal has no tenant" if {
	input.principal.kind == "user"
	input.principal.tenant == null
}

reasons contains "a workload must name the tenant it acts for" if {
	input.principal.kind == "workload"
	count(named) == 0
}

reasons contains "the request names more than one tenant" if count(named) > 1

reasons contains "this is another tenant's" if {
	count(named) == 1
	input.principal.kind == "user"
	input.principal.tenant != null
	some tenant in named
	not tenant in reachable
}
