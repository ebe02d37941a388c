--> executable follows <--
true
--> end executable <--
--> executable follows <--
true
--> end executable <--
--> executable follows <--
true
--> end executable <--
--> executable follows <--
true
--> end executable <--
