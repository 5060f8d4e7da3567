package portcullis.residency_test

import data.portcullis.residency

asked(gateway, allowed, region) := {
	"gateway": {"region": gateway},
	"route": {"residency": allowed},
	"principal": {"region": region},
}

test_a_gateway_inside_the_residency_may_serve if {
	residency.allow with input as asked("eu-west", ["EU"], null)
	residency.allow with input as asked("eu-central", ["EU", "US"], "EU")
}

test_a_gateway_outside_the_residency_may_not if {
	denied := asked("us-east", ["EU"], null)

	not residency.allow with input as denied
	residency.reasons == {"this route may not be served from here"} with input as denied
}

test_a_route_without_residency_may_be_served_anywhere if {
	residency.allow with input as asked("us-east", [], null)
}

test_where_the_principal_lives_narrows_the_route if {
	denied := asked("us-east", ["EU", "US"], "EU")

	not residency.allow with input as denied
	residency.reasons == {"your data must stay elsewhere"} with input as denied
	residency.allow with input as asked("us-east", ["EU", "US"], "US")
}

test_an_unknown_region_is_nowhere if {
	not residency.allow with input as asked("moon-base", ["EU"], null)
	not residency.allow with input as asked("moon-base", [], "EU")
}
