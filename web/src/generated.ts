// Written by `npm run types` from /openapi.json and docs/live.asyncapi.json. Do not edit.

export type paths = Record<string, never>;
export type webhooks = Record<string, never>;
export interface components {
    schemas: {
        /** @description Signs in, or renews the credential. */
        Auth: {
            /** @constant */
            type: "auth";
            /** @description A key or a token. */
            token: string;
        };
        /** @description The credential counts. */
        Authenticated: {
            /** @constant */
            type: "authenticated";
            /** @description Whose it is. */
            name?: string;
            /**
             * @description This service has no sign-in.
             * @constant
             */
            sign_in?: "off";
        };
        /** @description Facilities without figures, since an expression of the mapping fails on a row of their day. */
        CannotBeCounted: {
            /**
             * @description How many. `below` and `above` leave them out of the list and count them here, as their
             *     figures are not known.
             */
            facilities: number;
            /**
             * @description Where they are named, with the list of the mapping and what the server says.
             * @example source_days in /health/ready
             */
            see: string;
        };
        /** @description The service stops, or the connection has reached its age: come back after a time. The end follows. */
        Draining: {
            /** @constant */
            type: "draining";
            retry_ms: number;
            /** @constant */
            reason?: "max_age";
        };
        /** @description The database has failed over or was restored: forget what is shown; the summaries follow. */
        EpochMessage: {
            /** @constant */
            type: "epoch";
            epoch: string | null;
            /** @description The same in words. */
            detail: string;
        };
        /** @description Something is wrong. With `retry_ms` the end follows. */
        ErrorMessage: {
            /** @constant */
            type: "error";
            /** @description In a word, for programs. */
            code: string;
            /** @description In words, for people. */
            detail: string;
            /**
             * Format: uuid
             * @description The facility that does not exist any more.
             */
            facility_id?: string;
            /** @description Those that may not be seen any more. */
            facilities?: string[];
            retry_ms?: number;
        };
        /** @description The credential is missing, has ended, or was revoked. Only as a server-sent event; the end follows. */
        Expired: {
            /** @constant */
            type: "expired";
            /** @description In a word, for programs. */
            code: string;
            /** @description In words, for people. */
            detail: string;
            retry_ms: number;
        };
        /** @description One blood type's share of the totals. Each is null exactly when the total is null. */
        Figures: {
            /**
             * Format: int64
             * @description Requests that the facility made on the day, with any quantity.
             */
            requests?: number | null;
            /**
             * Format: int64
             * @description Units in stock, unexpired.
             */
            stock?: number | null;
            /**
             * Format: int64
             * @description Units delivered to the facility on the day.
             */
            transferred?: number | null;
        };
        /** @description It allows no figures. Only as a server-sent event; the end follows. */
        Forbidden: {
            /** @constant */
            type: "forbidden";
            /** @description In a word, for programs. */
            code: string;
            /** @description In words, for people. */
            detail: string;
            retry_ms: number;
        };
        /** @description Each message of a client. */
        FromClient: components["schemas"]["Auth"] | components["schemas"]["Subscribe"] | components["schemas"]["Unsubscribe"] | components["schemas"]["Ping"];
        /** @description Each message of the service. */
        FromService: components["schemas"]["Hello"] | components["schemas"]["Subscribed"] | components["schemas"]["SummaryMessage"] | components["schemas"]["SummariesMessage"] | components["schemas"]["TotalsMessage"] | components["schemas"]["Heartbeat"] | components["schemas"]["Stalled"] | components["schemas"]["ResumedMessage"] | components["schemas"]["EpochMessage"] | components["schemas"]["Draining"] | components["schemas"]["ErrorMessage"] | components["schemas"]["Unsubscribed"] | components["schemas"]["Pong"] | components["schemas"]["Authenticated"] | components["schemas"]["Full"] | components["schemas"]["Expired"] | components["schemas"]["Forbidden"] | components["schemas"]["Unavailable"];
        /** @description There is no place. Only as a server-sent event; the end follows. */
        Full: {
            /** @constant */
            type: "full";
            /** @description In a word, for programs. */
            code: string;
            /** @description In words, for people. */
            detail: string;
            retry_ms: number;
        };
        /** @description As of when the client has every change of what it follows. */
        Heartbeat: {
            /** @constant */
            type: "heartbeat";
            /**
             * Format: date-time
             * @description Null: that cannot be proven now.
             */
            exact_as_of: string | null;
            /** @description Those that are left out of that. */
            cannot_be_counted?: components["schemas"]["CannotBeCounted"];
            /**
             * Format: date-time
             * @description The latest that the database's clock can have shown when the message was made.
             */
            now: string;
        };
        /** @description The first message of a connection. */
        Hello: {
            /** @constant */
            type: "hello";
            /** @description Which history of the database the versions belong to. */
            epoch: string | null;
            /** @description The time between two heartbeats. */
            heartbeat_ms: number;
            /**
             * Format: date-time
             * @description What the service can prove now; it says nothing of what a client has.
             */
            exact_as_of: string | null;
            /**
             * Format: date-time
             * @description The latest that the database's clock can have shown when the message was made.
             */
            now: string;
        };
        /** @description One fault in a request. */
        InputError: {
            /**
             * @description What was expected, and what was found.
             * @example expected a whole number from 0 to 2147483647, got -3
             */
            detail: string;
            /**
             * @description RFC 6901 pointer into the body as the client sent it; empty for the whole body. Empty also
             *     for a header, which `detail` then names.
             * @example /3/data/quantity
             */
            pointer: string;
        };
        /** @description A summary, with what a read says of it in headers. */
        Item: {
            summary: components["schemas"]["Summary"];
            /** @description The entity tag, with its quotes, as a read sends it. */
            etag: string;
            /**
             * Format: date-time
             * @description The figures are exact as of this, or later.
             */
            as_of: string | null;
            /**
             * @description The figures stay as they were then, as a row of them cannot be counted.
             * @constant
             */
            cannot_be_counted?: true;
        };
        /**
         * @description The summary of a facility and local day, as answers show it. The same (facility, date, version)
         *     always gives the same JSON. A figure that the sources do not have is null.
         */
        ListedSummary: {
            /** @description The types that occur on the day; their sums equal the totals. */
            by_blood_type?: {
                [key: string]: components["schemas"]["Figures"];
            };
            /** @description Only there, and true, where the figures are null because an expression of the mapping fails on a row of the day: `totals.cannot_be_counted` says where that is named. */
            cannot_be_counted?: boolean;
            /**
             * Format: date
             * @description `YYYY-MM-DD`, in the facility's own zone.
             */
            date: string;
            /**
             * Format: uuid
             * @description The facility.
             */
            facility_id: string;
            /**
             * Format: int64
             * @description Requests that the facility made on the day.
             */
            total_requests?: number | null;
            /**
             * Format: int64
             * @description Units now in the facility's blood banks, unexpired. For a past day, the units at its end;
             *     null when none was ever recorded.
             */
            total_stock?: number | null;
            /**
             * Format: int64
             * @description Units delivered to the facility on the day.
             */
            total_transferred?: number | null;
            /**
             * Format: date-time
             * @description When a figure last changed, to the millisecond; null for a day without a row.
             */
            updated_at?: string | null;
            /**
             * Format: int64
             * @description Grows with every change, from one counter for each facility; 0 for a day without a row.
             */
            version: number;
        };
        /** @description A page of facilities' summaries of one day, with the totals of all of them. */
        Listing: {
            /**
             * @description The version of the day in whose order the page is. The same figures of the same facilities
             *     have the same version. All pages of one reader have the version of the first one; another
             *     one says that the changes since then are not remembered here, and the page is in the present
             *     order.
             */
            day_version: string;
            /** @description The summaries of this page. */
            items: components["schemas"]["ListedSummary"][];
            /** @description The `cursor` of the next page; null on the last page. */
            next_cursor?: string | null;
            /** @description The sums over all facilities that the filters leave, not only over this page. */
            totals: components["schemas"]["Totals"];
        };
        /** @description Who sent the request. */
        Me: {
            /** @description The facilities that it may see; null: all. */
            facilities?: string[] | null;
            /** @description As the audit log names it; null where there is no sign-in. */
            id?: string | null;
            /** @description A name for people. */
            name?: string | null;
            /** @description What it may do; without sign-in everybody is `admin`. */
            role: string;
            /** @description The session by which the request was signed in; null: by a key or a token, or not. */
            session?: string | null;
        };
        /** @description Asks for a `pong`. */
        Ping: {
            /** @constant */
            type: "ping";
            /** @description Comes back in the answer. */
            id?: unknown;
        };
        /** @description The answer to `ping`. */
        Pong: {
            /** @constant */
            type: "pong";
            /** @description The `id` of the client's message; null where it had none. */
            id: unknown;
            /**
             * Format: date-time
             * @description The latest that the database's clock can have shown when the message was made.
             */
            now: string;
        };
        /**
         * @description An error as a client sees it. The `type` is always `about:blank`: the status says what kind of
         *     error it is, `detail` and `errors` say the rest.
         */
        Problem: {
            /** @description What was wrong, and what would be right. */
            detail: string;
            /** @description Each fault in the body, when fields of it are wrong. */
            errors?: components["schemas"]["InputError"][];
            /**
             * Format: int32
             * @example 422
             */
            status: number;
            /**
             * @description The status in words.
             * @example Unprocessable Entity
             */
            title: string;
            /**
             * Format: uri-reference
             * @description Always `about:blank`: the status says what kind of error it is.
             * @example about:blank
             */
            type: string;
        };
        /** @description What is not followed, and why. */
        Refused: {
            /** @description As the client wrote it. */
            facility_id?: string;
            /** @description As the client wrote it. */
            subject?: string;
            /** @enum {unknown} */
            reason: "forbidden" | "unknown" | "not_an_id" | "too_many" | "unavailable";
        };
        /** @description That is over; a heartbeat follows. */
        ResumedMessage: {
            /** @constant */
            type: "resumed";
            /**
             * Format: date-time
             * @description As `stalled` had it.
             */
            since: string | null;
            /**
             * Format: date-time
             * @description The latest that the database's clock can have shown when the message was made.
             */
            now: string;
        };
        /** @description Nothing can be proven: what is shown may be older than it looks. */
        Stalled: {
            /** @constant */
            type: "stalled";
            /**
             * Format: date-time
             * @description Up to this instant everything was proven.
             */
            since: string | null;
            /** @description What is lost, in a word. */
            reason: string;
        };
        /**
         * @description Every facility that one may see, or the sums over them.
         * @enum {unknown}
         */
        Subject: "all" | "totals";
        /** @description Follows facilities, or a subject. */
        Subscribe: {
            /** @constant */
            type: "subscribe";
            /** @description Comes back in the answer. */
            id?: unknown;
            /** @description At most 2,000 on a connection. */
            facilities?: string[];
            /** @description The entity tag of what the client has, by facility: that is not sent again. */
            known?: {
                [key: string]: string;
            };
            /** @description The epoch of what is known. In another one it does not count. */
            epoch?: string;
            subject?: components["schemas"]["Subject"];
        };
        /** @description What is followed from now on. Heartbeats after it count for that, too. */
        Subscribed: {
            /** @constant */
            type: "subscribed";
            /** @description The `id` of the client's message; null where it had none. */
            id: unknown;
            facilities: string[];
            subject: components["schemas"]["Subject"] | null;
            refused: components["schemas"]["Refused"][];
            /** @description Server-sent events with Last-Event-ID: only what has changed since then follows. */
            resumed?: boolean;
            /**
             * @description Why it is not resumed, and everything is sent again.
             * @enum {unknown}
             */
            reason?: "unknown" | "epoch" | "behind" | "trimmed" | "facilities" | null;
        };
        /** @description The newest states of facilities, for those that follow all. */
        SummariesMessage: {
            /** @constant */
            type: "summaries";
            summaries: components["schemas"]["Item"][];
        };
        /**
         * @description The summary of a facility and local day, as answers show it. The same (facility, date, version)
         *     always gives the same JSON. A figure that the sources do not have is null.
         */
        Summary: {
            /** @description The types that occur on the day; their sums equal the totals. */
            by_blood_type: {
                [key: string]: components["schemas"]["Figures"];
            };
            /**
             * Format: date
             * @description `YYYY-MM-DD`, in the facility's own zone.
             */
            date: string;
            /**
             * Format: uuid
             * @description The facility.
             */
            facility_id: string;
            /**
             * Format: int64
             * @description Requests that the facility made on the day.
             */
            total_requests?: number | null;
            /**
             * Format: int64
             * @description Units now in the facility's blood banks, unexpired. For a past day, the units at its end;
             *     null when none was ever recorded.
             */
            total_stock?: number | null;
            /**
             * Format: int64
             * @description Units delivered to the facility on the day.
             */
            total_transferred?: number | null;
            /**
             * Format: date-time
             * @description When a figure last changed, to the millisecond; null for a day without a row.
             */
            updated_at?: string | null;
            /**
             * Format: int64
             * @description Grows with every change, from one counter for each facility; 0 for a day without a row.
             */
            version: number;
        };
        /** @description The newest state of a facility's day. */
        SummaryMessage: {
            /** @constant */
            type: "summary";
            summary: components["schemas"]["Summary"];
            /** @description The entity tag, with its quotes, as a read sends it. */
            etag: string;
            /**
             * Format: date-time
             * @description The figures are exact as of this, or later.
             */
            as_of: string | null;
            /**
             * @description The figures stay as they were then, as a row of them cannot be counted.
             * @constant
             */
            cannot_be_counted?: true;
        };
        /** @description Sums over facilities. */
        Totals: {
            /** @description The sums by blood type; `fields=totals` leaves them out. */
            by_blood_type?: {
                [key: string]: components["schemas"]["Figures"];
            };
            /** @description The facilities whose figures are missing in the sums; left out where there are none. */
            cannot_be_counted?: components["schemas"]["CannotBeCounted"];
            /** @description How many facilities there are, those that cannot be counted included. */
            facilities: number;
            /**
             * Format: int64
             * @description Requests made on the day.
             */
            total_requests?: number | null;
            /**
             * Format: int64
             * @description Units in stock; a null stock of a past day counts as 0.
             */
            total_stock?: number | null;
            /**
             * Format: int64
             * @description Units delivered on the day.
             */
            total_transferred?: number | null;
        };
        /** @description The sums over all facilities that one may see. */
        TotalsMessage: {
            /** @constant */
            type: "totals";
            totals: components["schemas"]["Totals"];
            /**
             * Format: date-time
             * @description They are exact as of this, or later.
             */
            as_of: string | null;
        };
        /** @description Whether it counts cannot be found out now. Only as a server-sent event; the end follows. */
        Unavailable: {
            /** @constant */
            type: "unavailable";
            /** @description In a word, for programs. */
            code: string;
            /** @description In words, for people. */
            detail: string;
            retry_ms: number;
        };
        /** @description Follows them no more. */
        Unsubscribe: {
            /** @constant */
            type: "unsubscribe";
            /** @description Comes back in the answer. */
            id?: unknown;
            facilities?: string[];
            subject?: components["schemas"]["Subject"];
        };
        /** @description What is not followed any more. */
        Unsubscribed: {
            /** @constant */
            type: "unsubscribed";
            /** @description The `id` of the client's message; null where it had none. */
            id: unknown;
            facilities: string[];
            subject: components["schemas"]["Subject"] | null;
        };
    };
    responses: never;
    parameters: never;
    requestBodies: never;
    headers: never;
    pathItems: never;
}
export type $defs = Record<string, never>;
export type operations = Record<string, never>;
