// The training loop of one replica: gradient, average, update, until the last step; with what a group may answer.
//
// A step is counted once at every replica: `finish` either commits it (then the update is made and recorded) or says
// kEvicted (then the state is that of a living member, and the loop goes on from its step).
// Threading: one thread. Errors: whatever the exchange cannot go on from, with the step.
#pragma once

#include "examples/train_digits/exchange.h"
#include "examples/train_digits/history.h"
#include "examples/train_digits/trainer.h"

namespace digits {

// Trains until trainer.done(). Progress lines go to standard output every `report_every` steps (0: none).
[[nodiscard]] regroup::Status train(Trainer& trainer, Exchange& exchange, History& history, std::uint64_t report_every);

// Behind the last step: waits until the view has `members` members again, at most `meetings` short meetings long, so
// that a replica that was restarted late still ends with the others. Everybody gives up at the same meeting, as what
// ends it (the view of a committed op, the number of steps settled) is the same at every member.
[[nodiscard]] regroup::Status end_together(Trainer& trainer, Exchange& exchange, History& history, std::size_t members,
                                           std::uint64_t meetings);

}  // namespace digits
