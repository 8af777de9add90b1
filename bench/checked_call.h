// One call whose result is checked: fresh inputs, poisoned output, every element bit for bit. For the *_perf programs.
#pragma once

#include <cstdint>
#include <functional>

#include "bench/collective.h"
#include "bench/seat.h"

namespace regroup::bench {

// Writes the input of this rank's call; other seeds give other inputs. An error is a device's.
Status fill_input(const Collective& collective, const Seat& seat, const Call& call, std::uint64_t seed);

// `run` carries out the call. Wrong elements over all ranks, the same at all of them; an op's error.
Result<std::uint64_t> checked_call(const Collective& collective, Seat& seat, const Call& call, std::uint64_t seed,
                                   bool in_place, const std::function<Result<Outcome>()>& run);

}  // namespace regroup::bench
