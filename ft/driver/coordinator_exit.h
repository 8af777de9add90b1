// Exit status of `regroup coordinator`: what a member that started it needs to know.
#pragma once

namespace regroup {

inline constexpr int kCoordinatorListens = 0;       // with --detach: it listens; otherwise: ended cleanly
inline constexpr int kCoordinatorFailed = 1;        // it said why
inline constexpr int kCoordinatorAddressInUse = 3;  // somebody listens there already: most often another coordinator
inline constexpr int kCoordinatorAllLost = 4;       // --exit-when-lost: all members have died, the log has no future

}  // namespace regroup
