// All requests, live, with filters.

import { liveRequests } from "./live.js";

export function requests(place, signal) {
  place.append(liveRequests(signal, { shown: 200, filters: true }));
  return { refresh: async () => {}, every_s: 60 };
}
