// A member of a recovery run: all-reduces without end, checks every result, writes every commit into the shared page.
#pragma once

namespace regroup::bench {

// main() of a member process; `page_fd` is the inherited page. Ends when the page says stop, or with status 1 and a
// message when an op ends in a way that no kill explains.
int run_member(int page_fd);

}  // namespace regroup::bench
