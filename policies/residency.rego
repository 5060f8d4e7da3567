# Where a request may be processed: never outside the jurisdictions of the route, and somebody whose token says
# where they live only there.
#
# The gateway keeps requests inside a route's residency when it chooses an endpoint. This policy is the second lock:
# it also refuses the gateway that stands in the wrong place.
package portcullis.residency

# The jurisdiction of this gateway, by data.portcullis.regions.
here := data.portcullis.regions[input.gateway.region]

default route_allows := false

# A route without residency may be served anywhere.
route_allows if count(input.route.residency) == 0

route_allows if here in input.route.residency

default principal_allows := false

# Nobody said where the principal's data must stay.
principal_allows if input.principal.region == null

principal_allows if input.principal.region == here

default allow := false

allow if {
	route_allows
	principal_allows
}

reasons contains "this route may not be served from here" if not route_allows

reasons contains "your data must stay elsewhere" if not principal_allows
