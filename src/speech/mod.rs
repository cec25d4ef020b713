//! Spanish of Mexico for recordings: numbers, money, dates, hours, telephone numbers and folios become recorded words.
