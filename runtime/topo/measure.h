// Measure: the figures of this machine that plans are chosen by, taken in a few milliseconds when a member joins.
//
// Best of several short tries, so that other work on the machine changes little, then rounded to steps of about a fifth,
// so that like machines say the like. What one member alone cannot see (the rate of the wires between hosts, what it costs
// to wait for one's turn) keeps its default, or comes from the option `cost`. Any thread; opens and closes a loopback
// connection of its own. Where something cannot be measured its default stays.
#pragma once

#include <string>

#include "base/time.h"
#include "runtime/algo/cost.h"

namespace regroup::topo {

// `host`: the numeric address of this member's data links. `peer`: "host:port" of something that is about as far away as
// the members are (the coordinator); empty: left out.
[[nodiscard]] algo::Machine measure(const std::string& host, const std::string& peer, Duration bound);

}  // namespace regroup::topo
